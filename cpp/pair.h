// Two classes with hard labels of which the first has no weights: one logit a row. Sixteen rows at a time go from
// memory to their logits, to their residuals and into the gradient, and stay in the first-level cache meanwhile.
#pragma once

#include <memory>

#include "narrow.h"
#include "thin.h"

namespace XENT_NAMESPACE {

constexpr ptrdiff_t PAIR_ROWS = 16;

// Logits of which one is not finite, as two classes have it: minus infinity is a masked class, plus infinity makes the
// row NaN, and so does a feature that is not finite, as 0 times it is the first class's logit.
template <class T> __attribute__((noinline)) void spoil(const T* x, T* z, ptrdiff_t D, ptrdiff_t rows) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        T sum = 0;
        for (ptrdiff_t d = 0; d < D; d++) sum += x[i * D + d] * 0;
        z[i] += sum;
        if (z[i] > 0 && z[i] - z[i] != 0) z[i] = T(__builtin_nan(""));
    }
}

// Logits z of W rows in; their losses out, and in z their residuals, the slopes of the second class.
template <class T>
XENT_INLINE V<T> pair_block(T* z, const int64_t* label, const double* weight, double slope) {
    const V<T> zero = {}, one = splat(T(1)), logit = load(z);
    const auto labels = labels_of(label, T());
    auto kept = labels >= 0;
    if (weight) kept &= not_zero(load_wide<T>(weight));
    const V<T> t = kept ? (labels == 1 ? -logit : logit) : zero;  // how far on the wrong side
    const auto wrong = t >= zero;
    const V<T> e = exp(wrong ? -t : t);
    const V<T> s = splat(T(slope));
    const V<T> loss = s * ((wrong ? t : zero) + log1p_positive(e) + (t == t ? zero : t));
    V<T> r = (wrong ? one : e) / (one + e) * (weight ? rounded(load_wide<T>(weight) * slope) : s);
    r = labels == 1 ? -r : r;
    store(z, kept ? r : zero);
    return kept ? loss : zero;
}

// g += r' x over `rows` rows of x; rows whose residual is 0 are not read.
template <class T> XENT_INLINE void add_rows(const T* x, const T* r, T* g, ptrdiff_t D, ptrdiff_t rows) {
    constexpr ptrdiff_t W = Vec<T>::width;
    const T* row[PAIR_ROWS];
    V<T> by[PAIR_ROWS];
    ptrdiff_t n = 0, d = 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        row[n] = x + i * D, by[n] = splat(r[i]);
        n += r[i] != 0;
    }
    for (; d + 4 * W <= D; d += 4 * W) {
        V<T> acc[4] = {load(g + d), load(g + d + W), load(g + d + 2 * W), load(g + d + 3 * W)};
        for (ptrdiff_t i = 0; i < n; i++)
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) acc[v] += by[i] * load(row[i] + d + v * W);
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) store(g + d + v * W, acc[v]);
    }
    for (; d < D; d += W) {
        const ptrdiff_t left = D - d < W ? D - d : W;
        V<T> acc[2] = {left < W ? load_some(g + d, left, T(0)) : load(g + d)};
        for (ptrdiff_t i = 0; i < n; i++) {
            const V<T> a = left < W ? load_some(row[i] + d, left, T(0)) : load(row[i] + d);
            acc[i % 2] += by[i] * a;
        }
        store_some(g + d, acc[0] + acc[1], left);
    }
}

// The weighted sum of the losses, each in `loss` if that is not null; g (D) and gb are added to. x is stored as S.
template <class T, class S>
double pair_fused(const S* stored, const T* w, T bias, const int64_t* label, const double* weight, double slope,
                  double* loss, T* g, double* gb, ptrdiff_t D, ptrdiff_t rows) {
    constexpr ptrdiff_t W = Vec<T>::width, R = PAIR_ROWS, FAR = 8192 / sizeof(S), STEP = LINE / sizeof(S);
    constexpr bool converts = sizeof(S) != sizeof(T);
    const std::unique_ptr<T[]> room(converts ? new T[R * D] : nullptr);
    // Short rows: every line of a whole block is asked for at once, well ahead. Fetched row by row, a line in six is
    // missed, and reading x adds to the arithmetic where it could hide behind it.
    const bool lines = R * D <= 2 * FAR;
    static_assert(R % W == 0, "whole vectors of rows");
    Wide<T> total = {};
    for (ptrdiff_t i = 0; i < rows; i += R) {
        const ptrdiff_t n = rows - i < R ? rows - i : R;
        T z[R] = {};
        if (lines)
            for (ptrdiff_t l = 0; l < R * D; l += STEP) __builtin_prefetch(stored + i * D + FAR + l);
        const T* x;
        if constexpr (converts) {
            from_other(stored + i * D, room.get(), n * D);
            x = room.get();
        } else x = stored + i * D;
        Fetch fetch = {(const char*)(stored + i * D + FAR), lines ? 0 : n * D / STEP, lines ? 0 : dot_rows<T, 1>()};
        dots_of<T, 1>(1, x, w, nullptr, z, D, 1, n, fetch);
        T most = 0;
        for (ptrdiff_t r = 0; r < R; r++) z[r] += bias, most += (z[r] - z[r]);
        if (most != 0) spoil(x, z, D, n);
        int64_t labels[R];
        double weights[R] = {};
        const bool whole = n == R;
        if (!whole) {
            for (ptrdiff_t r = 0; r < R; r++) labels[r] = r < n ? label[i + r] : -1;
            if (weight) std::memcpy(weights, weight + i, n * sizeof(double));
        }
        for (ptrdiff_t r = 0; r < R; r += W) {
            const int64_t* at = whole ? label + i + r : labels + r;
            const double* by = !weight ? nullptr : whole ? weight + i + r : weights + r;
            const Wide<T> l = widened(pair_block<T>(z + r, at, by, slope));
            if (loss && r < n) store_some(loss + i + r, l, int(n - r < W ? n - r : W));
            total = total + (by ? l * load_wide<T>(by) : l);
        }
        if (gb)
            for (ptrdiff_t r = 0; r < n; r++) *gb += z[r];
        add_rows(x, z, g, D, n);
    }
    return sum_lanes(total);
}

}  // namespace XENT_NAMESPACE
