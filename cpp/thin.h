// Logits of few classes. A row of w that is one dot product: vectors along the features, so that x is read once, in
// order, and few classes don't leave most of a vector empty. As many dot products at a time as a vector has lanes; one
// vector takes their sums.
#pragma once

#include "matmul.h"

namespace XENT_NAMESPACE {

// From W vectors, the vector of their sums.
template <class T, int S> XENT_INLINE V<T> sums(const V<T>* v) {
    constexpr int W = Vec<T>::width;
    if constexpr (S == W) {
        return v[0];
    } else {
        V<T> half[W];
#pragma GCC unroll 16
        for (int i = 0; i < W / (2 * S); i++) {
            const V<T> a = v[2 * i], b = v[2 * i + 1];
            half[i] = weave<T, S, false>(a, b) + weave<T, S, true>(a, b);
        }
        return sums<T, 2 * S>(half);
    }
}

// z(i, c) = x(i) . w(c) + bias(c) for C classes and `rows` of at most W / C rows; z has K classes a row. What lies
// `far` ahead in x is fetched meanwhile.
template <class T, int C>
XENT_INLINE void dots(const T* x, const T* w, const T* bias, T* z, ptrdiff_t D, ptrdiff_t K, ptrdiff_t rows,
                      ptrdiff_t far) {
    constexpr int W = Vec<T>::width, R = W / C;
    const T* row[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) row[r] = x + (r < rows ? r : rows - 1) * D;
    V<T> acc[W] = {};
    ptrdiff_t d = 0;
    for (; d + W <= D; d += W) {
        V<T> b[C];
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) b[c] = load(w + c * D + d);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            const V<T> a = load(row[r] + d);
            __builtin_prefetch(row[r] + d + far);
#pragma GCC unroll 4
            for (int c = 0; c < C; c++) acc[r * C + c] += a * b[c];
        }
    }
    if (d < D) {
        V<T> b[C];
#pragma GCC unroll 4
        for (int c = 0; c < C; c++) b[c] = load_some(w + c * D + d, D - d, T(0));
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
            const V<T> a = load_some(row[r] + d, D - d, T(0));
#pragma GCC unroll 4
            for (int c = 0; c < C; c++) acc[r * C + c] += a * b[c];
        }
    }
    V<T> out = sums<T, 1>(acc);
    if (bias)
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) out[i] += bias[i % C];
    if (K == C && rows == R) return store(z, out);
    T lanes[W];
    store(lanes, out);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (int c = 0; c < C; c++) z[r * K + c] = lanes[r * C + c];
}

// In half cycles of the products: D broadcasts a vector of classes, or K dot products and the sums of their lanes.
template <class T> XENT_INLINE bool by_dots(ptrdiff_t D, ptrdiff_t K) {
    constexpr ptrdiff_t W = Vec<T>::width;
    return W >= 4 && K * ((D + W - 1) / W + 6) < D * ((K + W - 1) / W);
}

template <class T, int C>
void dots_of(const T* x, const T* w, const T* bias, T* z, ptrdiff_t D, ptrdiff_t K, ptrdiff_t rows, ptrdiff_t far) {
    constexpr ptrdiff_t R = Vec<T>::width / C;
    for (ptrdiff_t i = 0; i < rows; i += R)
        dots<T, C>(x + i * D, w, bias, z + i * K, D, K, rows - i < R ? rows - i : R, far);
}

// Logits of `rows` rows: z (rows, K). `packed` is w turned over, in panels.
template <class T>
void logits(const T* x, const T* w, const T* packed, const T* bias, T* z, ptrdiff_t D, ptrdiff_t K, ptrdiff_t rows) {
    constexpr ptrdiff_t P = panel_width<T>(), NEAR = 16, FAR = 8192 / sizeof(T);
    if constexpr (Vec<T>::width >= 4) {
        if (by_dots<T>(D, K)) {
            // a few rows at a time stay in the first-level cache for all classes
            for (ptrdiff_t i = 0; i < rows; i += NEAR) {
                const ptrdiff_t n = rows - i < NEAR ? rows - i : NEAR;
                ptrdiff_t k = 0;
                auto at = [&](auto kernel) {
                    kernel(x + i * D, w + k * D, bias ? bias + k : bias, z + i * K + k, D, K, n, k == 0 ? FAR : 0);
                };
                for (; k + 4 <= K; k += 4) at(dots_of<T, 4>);
                for (; k + 2 <= K; k += 2) at(dots_of<T, 2>);
                if (k < K) at(dots_of<T, 1>);
            }
            return;
        }
    }
    if (bias)
        for (ptrdiff_t i = 0; i < rows; i++) std::memcpy(z + i * K, bias, K * sizeof(T));
    matmul<T>({rows, K, D, x, D, 1, packed, P, P * D, true, z, K, bias != nullptr});
}

}  // namespace XENT_NAMESPACE
