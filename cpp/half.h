// What logits are stored as, and what they are computed in: float and double as they are, the two half precisions in
// float. Loads widen, stores round to the nearest (ties to even); the arithmetic never sees a half.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

using xent::Bf16;
using xent::F16;

template <class S> struct Storage {
    typedef S compute;
};
template <> struct Storage<Bf16> {
    typedef float compute;
};
template <> struct Storage<F16> {
    typedef float compute;
};
template <class S> using Computed = typename Storage<S>::compute;

typedef uint32_t VecU32 __attribute__((vector_size(XENT_VECTOR_BYTES)));
typedef uint16_t Halves __attribute__((vector_size(XENT_VECTOR_BYTES / 2)));
typedef uint16_t HalvesU __attribute__((vector_size(XENT_VECTOR_BYTES / 2), aligned(2), may_alias));
constexpr int HALVES = XENT_VECTOR_BYTES / 4;

XENT_INLINE VecF widen(Halves h, Bf16) { return (VecF)(__builtin_convertvector(h, VecU32) << 16); }

XENT_INLINE Halves narrow(VecF v, Bf16) {
    const VecU32 bits = (VecU32)v, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return __builtin_convertvector(v == v ? rounded : (bits >> 16 | 0x40), Halves);
}

#if defined(__AVX512F__)
XENT_INLINE VecF widen(Halves h, F16) { return (VecF)_mm512_cvtph_ps((__m256i)h); }
XENT_INLINE Halves narrow(VecF v, F16) { return (Halves)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT); }
#elif defined(__AVX2__)
XENT_INLINE VecF widen(Halves h, F16) { return (VecF)_mm256_cvtph_ps((__m128i)h); }
XENT_INLINE Halves narrow(VecF v, F16) { return (Halves)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT); }
#else
XENT_INLINE VecF widen(Halves h, F16) {
    const VecU32 x = __builtin_convertvector(h, VecU32), magnitude = x & 0x7fff;
    const VecF subnormal = __builtin_convertvector((VecI32)magnitude, VecF) * splat(5.9604644775390625e-8f);  // 2^-24
    VecU32 bits = (magnitude << 13) + (magnitude >= 0x7c00 ? VecU32{} + (224u << 23) : VecU32{} + (112u << 23));
    bits = magnitude < 0x400 ? (VecU32)subnormal : bits;
    return (VecF)(bits | (x & 0x8000) << 16);
}

XENT_INLINE Halves narrow(VecF v, F16) {
    const VecU32 bits = (VecU32)v, sign = bits >> 16 & 0x8000, x = bits & 0x7fffffff;
    const VecU32 normal = (x - (112u << 23) + 0xfff + (x >> 13 & 1)) >> 13;
    const VecU32 tiny = (VecU32)((VecF)x + splat(0.5f)) - 0x3f000000;  // the sum's last bit is the smallest half's
    VecU32 out = x < 0x38800000 ? tiny : normal;
    out = x >= 0x477ff000 ? VecU32{} + 0x7c00 : out;
    out = x > 0x7f800000 ? VecU32{} + 0x7e00 : out;
    return __builtin_convertvector(out | sign, Halves);
}
#endif

template <class S> XENT_INLINE V<Computed<S>> read(const S* p) {
    if constexpr (sizeof(S) == 2) return widen((Halves)*(const HalvesU*)p, S{});
    else return load(p);
}

template <class S> XENT_INLINE V<Computed<S>> read_some(const S* p, ptrdiff_t n, Computed<S> fill) {
    if constexpr (sizeof(S) == 2) {
        Halves h = {};
        std::memcpy(&h, p, n * sizeof(S));
        float lanes[HALVES];
        store(lanes, widen(h, S{}));
        for (ptrdiff_t i = n; i < HALVES; i++) lanes[i] = fill;
        return load(lanes);
    } else return load_some(p, n, fill);
}

template <class S> XENT_INLINE void write(S* p, V<Computed<S>> v) {
    if constexpr (sizeof(S) == 2) *(HalvesU*)p = narrow(v, S{});
    else store(p, v);
}

template <class S> XENT_INLINE void write_some(S* p, V<Computed<S>> v, ptrdiff_t n) {
    if constexpr (sizeof(S) == 2) {
        const Halves h = narrow(v, S{});
        std::memcpy(p, &h, n * sizeof(S));
    } else store_some(p, v, n);
}

template <class S> XENT_INLINE Computed<S> one(const S* p) {
    if constexpr (sizeof(S) == 2) return read_some(p, 1, 0.0f)[0];
    else return *p;
}

template <class S> XENT_INLINE void put(S* p, Computed<S> v) {
    if constexpr (sizeof(S) == 2) write_some(p, splat(v), 1);
    else *p = v;
}

// Where results go, in order: to memory as they are, or, where they are not read again soon, past the caches. Then they
// pass through a buffer, and only whole lines leave it: a line written by halves is read first. A burst of such stores
// holds up every store behind it, so what can wait is drained a little at a time between computations.
template <class S> struct Sink {
    static constexpr ptrdiff_t LINE = 64;
    S *to, *buffer;  // buffer null: straight to memory
    ptrdiff_t bytes = 0, drained = 0, skip = 0, most;

    // `most` bytes may wait; `room` holds a line and what is written at once besides.
    Sink(S* out, bool past, void* room, ptrdiff_t waiting) : to(out), buffer(past ? (S*)room : nullptr), most(waiting) {
        if (!buffer) return;
        bytes = skip = ptrdiff_t((uintptr_t)out & (LINE - 1));  // the buffer lies on a line as the memory does
        to = (S*)((char*)out - skip);
    }

    inline __attribute__((always_inline)) S* room() const { return buffer ? (S*)((char*)buffer + bytes) : to; }

    inline __attribute__((always_inline)) void wrote(ptrdiff_t n) {
        if (!buffer) to += n;
        else if ((bytes += n * ptrdiff_t(sizeof(S))) > most) flush();
    }

    inline __attribute__((always_inline)) void one_vector() {
        stream((float*)((char*)to + drained), load((const float*)((const char*)buffer + drained)));
        drained += XENT_VECTOR_BYTES;
    }

    // Up to two vectors on their way. The first line of all, which may be shared, is left to flush.
    inline __attribute__((always_inline)) void drain() {
        if (!buffer || skip || drained + 2 * XENT_VECTOR_BYTES > (bytes & -LINE)) return;
        one_vector();
        one_vector();
    }

    void flush() {
        if (!buffer) return;
        const ptrdiff_t whole = bytes & -LINE;
        if (skip && whole) {
            std::memcpy((char*)to + skip, (const char*)buffer + skip, LINE - skip);
            drained = LINE, skip = 0;
        }
        while (drained < whole) one_vector();
        std::memcpy((void*)buffer, (const char*)buffer + whole, LINE);
        to = (S*)((char*)to + whole);
        bytes -= whole, drained = 0;
    }

    void finish() {
        if (!buffer) return;
        flush();
        std::memcpy((char*)to + skip, (const char*)buffer + skip, bytes - skip);
        stream_fence();
    }
};

}  // namespace XENT_NAMESPACE
