// Rows of few classes to vectors of one class, and back.
#pragma once

#include "half.h"

namespace XENT_NAMESPACE {

constexpr ptrdiff_t NARROW = 112;  // classes up to which this is the faster way, measured

// Every second lane of two vectors, and two vectors lane by lane.
template <class T, class Lanes> struct Pairs;
template <class T, int... I> struct Pairs<T, std::integer_sequence<int, I...>> {
    static constexpr int W = Vec<T>::width;
    XENT_INLINE V<T> even(V<T> a, V<T> b) { return __builtin_shufflevector(a, b, (2 * I)...); }
    XENT_INLINE V<T> odd(V<T> a, V<T> b) { return __builtin_shufflevector(a, b, (2 * I + 1)...); }
    XENT_INLINE V<T> first(V<T> a, V<T> b) { return __builtin_shufflevector(a, b, (I / 2 + I % 2 * W)...); }
    XENT_INLINE V<T> second(V<T> a, V<T> b) { return __builtin_shufflevector(a, b, (W / 2 + I / 2 + I % 2 * W)...); }
};
template <class T> using PairsOf = Pairs<T, std::make_integer_sequence<int, Vec<T>::width>>;

// The same within each 16 bytes: the numbers of their lower halves, or upper halves, one by one.
template <class T, class Lanes> struct Quarters;
template <class T, int... I> struct Quarters<T, std::integer_sequence<int, I...>> {
    static constexpr int W = Vec<T>::width, E = 16 / sizeof(T);
    XENT_INLINE V<T> first(V<T> a, V<T> b) {
        return __builtin_shufflevector(a, b, (I / E * E + I % E / 2 + I % 2 * W)...);
    }
    XENT_INLINE V<T> second(V<T> a, V<T> b) {
        return __builtin_shufflevector(a, b, (I / E * E + E / 2 + I % E / 2 + I % 2 * W)...);
    }
};
template <class T> using QuartersOf = Quarters<T, std::make_integer_sequence<int, Vec<T>::width>>;

// Numbers in 16 bytes: squares of so many are turned, as many at once as a vector holds.
template <class T> constexpr int side() { return 16 / sizeof(T); }

template <class T> XENT_INLINE void turn(V<T>* r) {
    constexpr int E = side<T>();
    V<T> next[E];
#pragma GCC unroll 2
    for (int step = 1; step < E; step *= 2) {
#pragma GCC unroll 2
        for (int i = 0; i < E / 2; i++) {
            next[2 * i] = QuartersOf<T>::first(r[i], r[i + E / 2]);
            next[2 * i + 1] = QuartersOf<T>::second(r[i], r[i + E / 2]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < E; i++) r[i] = next[i];
    }
}

// 16 bytes from each of the rows 0, E, 2 E ... of K numbers, and back.
template <class T> XENT_INLINE V<T> load_squares(const T* p, ptrdiff_t K) {
#if defined(__AVX512F__)
    const ptrdiff_t step = side<T>() * K;
    const __m512 low = _mm512_castps256_ps512(_mm256_insertf128_ps(
        _mm256_castps128_ps256(_mm_loadu_ps((const float*)p)), _mm_loadu_ps((const float*)(p + step)), 1));
    const __m512 three = _mm512_insertf32x4(low, _mm_loadu_ps((const float*)(p + 2 * step)), 2);
    return (V<T>)_mm512_insertf32x4(three, _mm_loadu_ps((const float*)(p + 3 * step)), 3);
#elif defined(__AVX2__)
    return (V<T>)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float*)p)),
                                      _mm_loadu_ps((const float*)(p + side<T>() * K)), 1);
#else
    return load(p);
#endif
}

template <class T> XENT_INLINE void store_squares(T* p, V<T> v, ptrdiff_t K) {
#if defined(__AVX512F__)
    const ptrdiff_t step = side<T>() * K;
    _mm_storeu_ps((float*)p, _mm512_castps512_ps128((__m512)v));
    _mm_storeu_ps((float*)(p + step), _mm512_extractf32x4_ps((__m512)v, 1));
    _mm_storeu_ps((float*)(p + 2 * step), _mm512_extractf32x4_ps((__m512)v, 2));
    _mm_storeu_ps((float*)(p + 3 * step), _mm512_extractf32x4_ps((__m512)v, 3));
#elif defined(__AVX2__)
    _mm_storeu_ps((float*)p, _mm256_castps256_ps128((__m256)v));
    _mm_storeu_ps((float*)(p + side<T>() * K), _mm256_extractf128_ps((__m256)v, 1));
#else
    store(p, v);
#endif
}

// W rows of K contiguous numbers to K vectors, and back. The last square of a row begins where it ends with the row.
template <class T> XENT_INLINE void turn_in(const T* a, V<T>* z, ptrdiff_t K) {
    constexpr ptrdiff_t W = Vec<T>::width, E = side<T>();
    if (K < E) {
        T lanes[(E - 1) * W];
        for (ptrdiff_t l = 0; l < W; l++)
            for (ptrdiff_t k = 0; k < K; k++) lanes[k * W + l] = a[l * K + k];
        for (ptrdiff_t k = 0; k < K; k++) z[k] = load(lanes + k * W);
        return;
    }
    for (ptrdiff_t next = 0; next < K; next += E) {
        const ptrdiff_t k = next + E <= K ? next : K - E;
        V<T> r[E];
#pragma GCC unroll 4
        for (ptrdiff_t i = 0; i < E; i++) r[i] = load_squares(a + i * K + k, K);
        turn<T>(r);
#pragma GCC unroll 4
        for (ptrdiff_t i = 0; i < E; i++) z[k + i] = r[i];
    }
}

template <class T> XENT_INLINE void turn_out(const V<T>* z, T* a, ptrdiff_t K) {
    constexpr ptrdiff_t W = Vec<T>::width, E = side<T>();
    if (K < E) {
        T lanes[(E - 1) * W];
        for (ptrdiff_t k = 0; k < K; k++) store(lanes + k * W, z[k]);
        for (ptrdiff_t l = 0; l < W; l++)
            for (ptrdiff_t k = 0; k < K; k++) a[l * K + k] = lanes[k * W + l];
        return;
    }
    for (ptrdiff_t next = 0; next < K; next += E) {
        const ptrdiff_t k = next + E <= K ? next : K - E;
        V<T> r[E];
#pragma GCC unroll 4
        for (ptrdiff_t i = 0; i < E; i++) r[i] = z[k + i];
        turn<T>(r);
#pragma GCC unroll 4
        for (ptrdiff_t i = 0; i < E; i++) store_squares(a + i * K + k, r[i], K);
    }
}

template <class S> XENT_INLINE void transposed(const S* a, V<Computed<S>>* z, ptrdiff_t K) {
    typedef Computed<S> T;
    constexpr int W = Vec<T>::width;
    if (K == 2) {
        const V<T> low = read(a), high = read(a + W);
        z[0] = PairsOf<T>::even(low, high);
        z[1] = PairsOf<T>::odd(low, high);
    } else if constexpr (sizeof(S) == sizeof(T)) {
        turn_in(a, z, K);
    } else {
        T rows[W * NARROW];
        for (ptrdiff_t j = 0; j < W * K; j += W) store(rows + j, read(a + j));
        turn_in(rows, z, K);
    }
}

template <class S> XENT_INLINE void transposed_back(const V<Computed<S>>* z, S* a, ptrdiff_t K) {
    typedef Computed<S> T;
    constexpr int W = Vec<T>::width;
    if (K == 2) {
        write(a, PairsOf<T>::first(z[0], z[1]));
        write(a + W, PairsOf<T>::second(z[0], z[1]));
    } else if constexpr (sizeof(S) == sizeof(T)) {
        turn_out(z, a, K);
    } else {
        T rows[W * NARROW];
        turn_out(z, rows, K);
        for (ptrdiff_t j = 0; j < W * K; j += W) write(a + j, load(rows + j));
    }
}

}  // namespace XENT_NAMESPACE
