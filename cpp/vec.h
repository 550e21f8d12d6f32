// Vectors of the machine's width from one source: the vector types that GCC and Clang share, so that the same code
// becomes AVX-512, AVX2, NEON or SSE2 by the flags it is compiled with. Intrinsics appear only where the vector types
// have no word for it (masked loads, streaming stores), each with a plain version beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define XENT_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define XENT_VECTOR_BYTES 32
#else
#define XENT_VECTOR_BYTES 16
#endif

#define XENT_INLINE static inline __attribute__((always_inline))

// Each level lives in a namespace of its own: two levels compiled from one source must never share a function.
#define XENT_JOIN2(a, b) a##b
#define XENT_JOIN(a, b) XENT_JOIN2(a, b)
#define XENT_NAMESPACE XENT_JOIN(xent_, XENT_LEVEL)

namespace XENT_NAMESPACE {

typedef float VecF __attribute__((vector_size(XENT_VECTOR_BYTES)));
typedef double VecD __attribute__((vector_size(XENT_VECTOR_BYTES)));
typedef int32_t VecI32 __attribute__((vector_size(XENT_VECTOR_BYTES)));
typedef int64_t VecI64 __attribute__((vector_size(XENT_VECTOR_BYTES)));
typedef float VecFU __attribute__((vector_size(XENT_VECTOR_BYTES), aligned(4), may_alias));
typedef double VecDU __attribute__((vector_size(XENT_VECTOR_BYTES), aligned(8), may_alias));

template <class T> struct Vec;

template <> struct Vec<float> {
    typedef VecF type;
    typedef VecFU unaligned;
    typedef VecI32 bits;
    static constexpr int width = XENT_VECTOR_BYTES / 4;
};

template <> struct Vec<double> {
    typedef VecD type;
    typedef VecDU unaligned;
    typedef VecI64 bits;
    static constexpr int width = XENT_VECTOR_BYTES / 8;
};

template <class T> using V = typename Vec<T>::type;

template <class T> XENT_INLINE V<T> splat(T x) { return x - V<T>{}; }  // x - 0 is x, also for -0

template <class T> XENT_INLINE V<T> load(const T* p) { return (V<T>)*(const typename Vec<T>::unaligned*)p; }
template <class T> XENT_INLINE void store(T* p, V<T> v) { *(typename Vec<T>::unaligned*)p = v; }

// The first n lanes from memory, the others `fill`; nothing beyond p + n is read.
template <class T> XENT_INLINE V<T> load_some(const T* p, ptrdiff_t n, T fill) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return (V<T>)_mm512_mask_loadu_ps(_mm512_set1_ps(fill), (__mmask16)((1u << n) - 1), p);
    else return (V<T>)_mm512_mask_loadu_pd(_mm512_set1_pd(fill), (__mmask8)((1u << n) - 1), p);
#else
    V<T> v;
#if defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
        const VecI32 lane = {0, 1, 2, 3, 4, 5, 6, 7}, mask = lane < (int32_t)n;
        v = (V<T>)_mm256_maskload_ps((const float*)p, (__m256i)mask);
        return mask ? v : splat(fill);
    } else {
        const VecI64 lane = {0, 1, 2, 3}, mask = lane < (int64_t)n;
        v = (V<T>)_mm256_maskload_pd((const double*)p, (__m256i)mask);
        return mask ? v : splat(fill);
    }
#else
    T lanes[Vec<T>::width];
    for (int i = 0; i < Vec<T>::width; i++) lanes[i] = i < n ? p[i] : fill;
    v = load(lanes);
    return v;
#endif
#endif
}

template <class T> XENT_INLINE void store_some(T* p, V<T> v, ptrdiff_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
    else _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
#else
    std::memcpy(p, &v, n * sizeof(T));
#endif
}

// A store that does not first fetch the line it overwrites. p must be aligned to the vector.
template <class T> XENT_INLINE void stream(T* p, V<T> v) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) _mm512_stream_ps(p, (__m512)v);
    else _mm512_stream_pd(p, (__m512d)v);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) _mm256_stream_ps(p, (__m256)v);
    else _mm256_stream_pd(p, (__m256d)v);
#else
    store(p, v);
#endif
}

XENT_INLINE void stream_fence() {
#if defined(__AVX512F__) || defined(__AVX2__)
    _mm_sfence();
#endif
}

// The larger of each pair, as the machine's instruction has it: b where either is NaN.
template <class T> XENT_INLINE V<T> larger(V<T> a, V<T> b) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return (V<T>)_mm512_max_ps((__m512)a, (__m512)b);
    else return (V<T>)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return (V<T>)_mm256_max_ps((__m256)a, (__m256)b);
    else return (V<T>)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
    return a > b ? a : b;
#endif
}

// Half of a vector, and the two halves of one.
typedef float HalfF __attribute__((vector_size(XENT_VECTOR_BYTES / 2)));

typedef int32_t HalfI32 __attribute__((vector_size(XENT_VECTOR_BYTES / 2)));

// By shuffles: through memory, a load of what two stores wrote waits for both.
template <int FROM, class V, int... I> XENT_INLINE auto lanes_from(V v, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(v, v, (FROM + I)...);
}
template <class V> XENT_INLINE auto low_half(V v) {
    return lanes_from<0>(v, std::make_integer_sequence<int, sizeof(V) / sizeof(v[0]) / 2>());
}
template <class V> XENT_INLINE auto high_half(V v) {
    constexpr int n = sizeof(V) / sizeof(v[0]) / 2;
    return lanes_from<n>(v, std::make_integer_sequence<int, n>());
}
template <class H, int... I> XENT_INLINE auto joined_lanes(H low, H high, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(low, high, I...);
}
template <class H> XENT_INLINE auto joined(H low, H high) {
    return joined_lanes(low, high, std::make_integer_sequence<int, 2 * sizeof(H) / sizeof(low[0])>());
}

// p[at + lane] in each lane.
XENT_INLINE VecI32 lane_numbers(float) {
    VecI32 v;
    for (int i = 0; i < Vec<float>::width; i++) v[i] = i;
    return v;
}
XENT_INLINE VecI64 lane_numbers(double) {
    VecI64 v;
    for (int i = 0; i < Vec<double>::width; i++) v[i] = i;
    return v;
}
template <class T> XENT_INLINE V<T> gathered(const T* p, typename Vec<T>::bits at) {
    at += lane_numbers(T());
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) return (V<T>)_mm512_i32gather_ps((__m512i)at, p, 4);
    else return (V<T>)_mm512_i64gather_pd((__m512i)at, p, 8);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return (V<T>)_mm256_i32gather_ps((const float*)p, (__m256i)at, 4);
    else return (V<T>)_mm256_i64gather_pd((const double*)p, (__m256i)at, 8);
#else
    V<T> v;
    for (int i = 0; i < Vec<T>::width; i++) v[i] = p[at[i]];
    return v;
#endif
}

// Whether a mask of comparisons holds in all lanes.
template <class M> XENT_INLINE bool all(M mask) {
#if defined(__AVX512F__)
    if constexpr (sizeof(mask[0]) == 4) return _mm512_movepi32_mask((__m512i)mask) == 0xffff;
    else return _mm512_movepi64_mask((__m512i)mask) == 0xff;
#elif defined(__AVX2__)
    return _mm256_movemask_epi8((__m256i)mask) == -1;
#else
    VecI64 m = (VecI64)mask;
    return (m[0] & m[1]) == -1;
#endif
}

// sum += v in the lanes where z is not m (NaN is not); how many lanes that were.
template <class T> XENT_INLINE int add_where_not(V<T>& sum, V<T> v, V<T> z, V<T> m) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        const __mmask16 mask = _mm512_cmp_ps_mask((__m512)z, (__m512)m, _CMP_NEQ_UQ);
        sum = (V<T>)_mm512_mask_add_ps((__m512)sum, mask, (__m512)sum, (__m512)v);
        return __builtin_popcount(mask);
    } else {
        const __mmask8 mask = _mm512_cmp_pd_mask((__m512d)z, (__m512d)m, _CMP_NEQ_UQ);
        sum = (V<T>)_mm512_mask_add_pd((__m512d)sum, mask, (__m512d)sum, (__m512d)v);
        return __builtin_popcount(mask);
    }
#else
    const auto other = z != m;
    sum += other ? v : V<T>{};
#if defined(__AVX2__)
    if constexpr (sizeof(T) == 4) return __builtin_popcount(_mm256_movemask_ps((__m256)other));
    else return __builtin_popcount(_mm256_movemask_pd((__m256d)other));
#else
    int n = 0;
    for (int i = 0; i < Vec<T>::width; i++) n -= int(other[i]);
    return n;
#endif
#endif
}

template <class T> XENT_INLINE T largest_lane(V<T> v) {
    T m = v[0];
    for (int i = 1; i < Vec<T>::width; i++) m = v[i] > m ? v[i] : m;
    return m;
}

XENT_INLINE double sum_lanes(VecD v) {
#if XENT_VECTOR_BYTES == 64
    const auto half = low_half(v) + high_half(v);
    const auto quarter = low_half(half) + high_half(half);
    return quarter[0] + quarter[1];
#elif XENT_VECTOR_BYTES == 32
    const auto half = low_half(v) + high_half(v);
    return half[0] + half[1];
#else
    return v[0] + v[1];
#endif
}

// The lanes of a vector of T as doubles: one vector of them or two.
template <class T> struct Wide {
    static constexpr int n = sizeof(double) / sizeof(T);
    VecD v[n];
};

template <class T> XENT_INLINE Wide<T> load_wide(const double* p) {
    Wide<T> w;
    for (int i = 0; i < Wide<T>::n; i++) w.v[i] = load(p + i * Vec<double>::width);
    return w;
}
template <class T> XENT_INLINE Wide<T> operator*(Wide<T> a, Wide<T> b) {
    for (int i = 0; i < Wide<T>::n; i++) a.v[i] *= b.v[i];
    return a;
}
template <class T> XENT_INLINE Wide<T> operator+(Wide<T> a, Wide<T> b) {
    for (int i = 0; i < Wide<T>::n; i++) a.v[i] += b.v[i];
    return a;
}
template <class T> XENT_INLINE Wide<T> operator*(Wide<T> a, double b) {
    for (int i = 0; i < Wide<T>::n; i++) a.v[i] *= splat(b);
    return a;
}

XENT_INLINE Wide<double> widened(VecD v) { return {{v}}; }
XENT_INLINE Wide<float> widened(VecF v) {
    return {{__builtin_convertvector(low_half(v), VecD), __builtin_convertvector(high_half(v), VecD)}};
}
XENT_INLINE VecD rounded(Wide<double> w) { return w.v[0]; }
XENT_INLINE VecF rounded(Wide<float> w) {
    return joined(__builtin_convertvector(w.v[0], HalfF), __builtin_convertvector(w.v[1], HalfF));
}
XENT_INLINE VecI64 not_zero(Wide<double> w) { return w.v[0] != 0; }
XENT_INLINE VecI32 not_zero(Wide<float> w) {
    return joined(__builtin_convertvector(w.v[0] != 0, HalfI32), __builtin_convertvector(w.v[1] != 0, HalfI32));
}

XENT_INLINE double sum_lanes(Wide<double> w) { return sum_lanes(w.v[0]); }
XENT_INLINE double sum_lanes(Wide<float> w) { return sum_lanes(w.v[0] + w.v[1]); }
XENT_INLINE double sum_lanes(VecF v) { return sum_lanes(widened(v)); }

template <class T> XENT_INLINE void store_some(double* p, Wide<T> w, int rows) {
    constexpr int W = Vec<double>::width;
    for (int i = 0; i < Wide<T>::n; i++) {
        if (rows >= W) store(p + i * W, w.v[i]);
        else if (rows > 0) store_some(p + i * W, w.v[i], rows);
        rows -= W;
    }
}

// exp(x) for x <= 0: logits are measured from the maximum of their row. exp(x) = 2^n exp(r) with |r| <= log(2) / 2, and
// exp(r) = 1 + r + r^2 P(r) with P the minimax polynomial (relative error 3e-9 and 4e-18, see
// benchmarks/polynomials.py). Exact at 0; gradual underflow; -inf gives 0, NaN stays NaN. About one unit in the last
// place.
XENT_INLINE VecF exp(VecF x) {
    x = larger<float>(splat(-104.0f), x);   // NaN in x stays
    const VecF magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, left in the low bits
    VecF y = x * splat(1.44269504088896341f) + magic;
    VecF n = y - magic;
    VecF r = x - n * splat(0.693359375f);  // log(2) in two parts
    r = r + n * splat(2.12194440054690583e-4f);
    const VecF r2 = r * r;  // by pairs of terms: half as long a chain as Horner's, and as many operations
    VecF p = splat(0.00138145878239f) * r2 + (splat(0.00836871790094f) * r + splat(0.0416683882712f));
    p = p * r2 + (splat(0.166665206207f) * r + splat(0.499999934467f));
    p = p * r2 + r + splat(1.0f);
#if defined(__AVX512F__)
    return (VecF)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    VecI32 k = (VecI32)y - (VecI32)magic;
    VecI32 tiny = k < -120;  // the power of two alone would underflow: lift it, and lower the product
    k = k + (tiny & 32);
    return p * (VecF)((k + 127) << 23) * (tiny ? splat(2.3283064365386963e-10f) : splat(1.0f));
#endif
}

XENT_INLINE VecD exp(VecD x) {
    x = larger<double>(splat(-746.0), x);
    const VecD magic = splat(6755399441055744.0);  // 1.5 * 2^52
    VecD y = x * splat(1.4426950408889634074) + magic;
    VecD n = y - magic;
    VecD r = x - n * splat(6.93145751953125e-1);
    r = r - n * splat(1.42860682030941723212e-6);
    const VecD r2 = r * r, r4 = r2 * r2;
    VecD high = splat(2.5000081859091008477e-8) * r + splat(2.7630250917640745823e-7);
    high = high * r2 + (splat(2.7557586323951378238e-6) * r + splat(2.4801493091317897216e-5));
    const VecD middle = (splat(1.9841269506612552119e-4) * r + splat(1.3888888943637955139e-3)) * r2 +
                        (splat(8.3333333334944609609e-3) * r + splat(4.1666666666530126634e-2));
    VecD p = (high * r4 + middle) * r2 + (splat(1.6666666666666412487e-1) * r + splat(5.0000000000000106311e-1));
    p = p * r2 + r + splat(1.0);
#if defined(__AVX512F__)
    return (VecD)_mm512_scalef_pd((__m512d)p, (__m512d)n);
#else
    VecI64 k = (VecI64)y - (VecI64)magic;
    VecI64 tiny = k < -1000;
    k = k + (tiny & 64);
    return p * (VecD)((k + 1023) << 52) * (tiny ? splat(5.421010862427522e-20) : splat(1.0));
#endif
}

// log(1 + x) for x >= 0, about one unit in the last place: log of y = 1 + x by the series of atanh, and what rounding
// took from x added back as (x - (y - 1)) / y, so that the smallest x comes out as itself.
XENT_INLINE VecD log1p_positive(VecD x) {
    const VecD one = splat(1.0);
    VecD y = one + x;
    VecI64 bits = (VecI64)y;
    VecI64 k = (bits - 0x3fe6a09e667f3bcdLL) >> 52;  // from the bits of sqrt(1/2): the mantissa lies around 1
    VecD f = (VecD)(bits - (k << 52)) - one;
    VecD s = f / (splat(2.0) + f), z = s * s;
    VecD p = splat(1.0 / 23);
    p = p * z + splat(1.0 / 21);
    p = p * z + splat(1.0 / 19);
    p = p * z + splat(1.0 / 17);
    p = p * z + splat(1.0 / 15);
    p = p * z + splat(1.0 / 13);
    p = p * z + splat(1.0 / 11);
    p = p * z + splat(1.0 / 9);
    p = p * z + splat(1.0 / 7);
    p = p * z + splat(1.0 / 5);
    p = p * z + splat(1.0 / 3);
    VecD n = (VecD)(k + 0x4338000000000000LL) - splat(6755399441055744.0);  // k as a double
    VecD log_y = n * splat(6.93147180559945286e-1) + (n * splat(2.31904681384629956e-17) + (s + s) * (one + p * z));
    VecD out = log_y + (x - (y - one)) / y;
    return x - x == 0 ? out : x;  // NaN and infinity stay
}

// The same in float without a division: with y = 2^k (1 + f), what rounding took goes into f, and log(1 + f) is
// f - f^2 / 2 + f^3 P(f), P minimax (relative error 6e-9, see benchmarks/polynomials.py). Under one and a half units in the last place.
XENT_INLINE VecF log1p_positive(VecF x) {
    const VecF one = splat(1.0f);
    VecF y = one + x;
    VecI32 bits = (VecI32)y;
    VecI32 k = (bits - 0x3f3504f3) >> 23;
    VecF f = ((VecF)(bits - (k << 23)) - one) + (x - (y - one)) * (VecF)((127 - k) << 23);
    VecF f2 = f * f, f4 = f2 * f2;
    VecF p = (splat(-0.0763413673925f) * f + splat(0.127614323794f)) * f2 +
             (splat(-0.131602505289f) * f + splat(0.142017822153f));
    VecF q = (splat(-0.166233527073f) * f + splat(0.200012257436f)) * f2 +
             (splat(-0.250008211512f) * f + splat(0.333333317185f));
    VecF n = __builtin_convertvector(k, VecF);
    VecF low = n * splat(1.42860677e-6f) + ((p * f4 + q) * (f2 * f) - splat(0.5f) * f2);
    VecF out = n * splat(6.93145752e-1f) + (low + f);
    return x - x == 0 ? out : x;  // NaN and infinity stay
}

}  // namespace XENT_NAMESPACE
