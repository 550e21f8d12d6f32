// Rows of few classes to vectors of one class, and back.
#pragma once

#include "half.h"

namespace XENT_NAMESPACE {

constexpr ptrdiff_t NARROW = 64;  // classes up to which this is the faster way, measured

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

// A square of W vectors, rows to columns: after each step the vectors of the two halves lie interleaved.
template <class T> XENT_INLINE void turn(V<T>* r) {
    constexpr int W = Vec<T>::width;
    V<T> next[W];
#pragma GCC unroll 4
    for (int step = 1; step < W; step *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < W / 2; i++) {
            next[2 * i] = PairsOf<T>::first(r[i], r[i + W / 2]);
            next[2 * i + 1] = PairsOf<T>::second(r[i], r[i + W / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) r[i] = next[i];
    }
}

// W rows of K contiguous numbers to K vectors, and back.
template <class T> XENT_INLINE void turn_in(const T* a, V<T>* z, ptrdiff_t K) {
    constexpr int W = Vec<T>::width;
    for (ptrdiff_t k = 0; k < K; k += W) {
        const ptrdiff_t n = K - k < W ? K - k : W;
        V<T> r[W];
#pragma GCC unroll 16
        for (int l = 0; l < W; l++) r[l] = load_some(a + l * K + k, n, T(0));
        turn<T>(r);
        for (ptrdiff_t j = 0; j < n; j++) z[k + j] = r[j];
    }
}

template <class T> XENT_INLINE void turn_out(const V<T>* z, T* a, ptrdiff_t K) {
    constexpr int W = Vec<T>::width;
    for (ptrdiff_t k = 0; k < K; k += W) {
        const ptrdiff_t n = K - k < W ? K - k : W;
        V<T> r[W];
        for (ptrdiff_t j = 0; j < W; j++) r[j] = j < n ? z[k + j] : V<T>{};
        turn<T>(r);
#pragma GCC unroll 16
        for (int l = 0; l < W; l++) store_some(a + l * K + k, r[l], n);
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
