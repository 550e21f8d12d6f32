// A layer of few classes. A row of w is one dot product: vectors along the features, so that x is read once, in order,
// and few classes don't leave most of a vector empty. Several rows by several classes at a time; vectors take the sums
// of their lanes.
#pragma once

#include "convert.h"
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

// Sums in registers beside their factors, and classes of them at once: of more, the rows that share a load of w get few.
constexpr int SUMS = MR >= 8 ? 24 : 8, MOST_DOTS = MR >= 8 ? 6 : 4;

constexpr ptrdiff_t PAGE = 4096;

// Memory to fetch, so many lines in every step of a loop: evenly, as nothing else keeps a memory busy meanwhile.
struct Fetch {
    const char* at;
    ptrdiff_t lines, each;
};

template <class T, int C> constexpr int dot_rows() {
    if (C == 1) return Vec<T>::width;
    return SUMS / C < 8 ? SUMS / C : 8;
}

// z(i, c) = x(i) . w(c) + start for C classes and the rows 0, apart, 2 apart, ..., those of them below `rows`; z has K
// classes a row.
template <class T, int C>
XENT_INLINE void dots(const T* x, const T* w, const T* start, T* z, ptrdiff_t D, ptrdiff_t K, ptrdiff_t rows,
                      ptrdiff_t apart, Fetch& fetch) {
    constexpr int W = Vec<T>::width, R = dot_rows<T, C>(), A = R * C;
    const T* row[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) row[r] = x + (r * apart < rows ? r * apart : 0) * D;
    V<T> acc[(A + W - 1) / W * W] = {};
    ptrdiff_t d = 0;
    for (; d + W <= D; d += W) {
        for (ptrdiff_t l = fetch.each; l > 0; l--, fetch.at += LINE) __builtin_prefetch(fetch.at, 0, 2);
        V<T> a[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) a[r] = load(row[r] + d);
#pragma GCC unroll 16
        for (int c = 0; c < C; c++) {
            const V<T> b = load(w + c * D + d);
#pragma GCC unroll 16
            for (int r = 0; r < R; r++) acc[r * C + c] += a[r] * b;
        }
    }
    if (d < D) {
        V<T> a[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) a[r] = load_some(row[r] + d, D - d, T(0));
#pragma GCC unroll 16
        for (int c = 0; c < C; c++) {
            const V<T> b = load_some(w + c * D + d, D - d, T(0));
#pragma GCC unroll 16
            for (int r = 0; r < R; r++) acc[r * C + c] += a[r] * b;
        }
    }
    T lanes[(A + W - 1) / W * W];
    const bool whole = K == C && apart == 1 && rows >= R;
#pragma GCC unroll 8
    for (int i = 0; i < A; i += W) {
        const V<T> out = sums<T, 1>(acc + i) + load(start + i);
        if (!whole) store(lanes + i, out);
        else if (i + W <= A) store(z + i, out);
        else store_some(z + i, out, A - i);
    }
    if (whole) return;
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
        if (r * apart < rows) std::memcpy(z + r * apart * K, lanes + r * C, C * sizeof(T));
}

// In half cycles of the products: D broadcasts a vector of classes, or K dot products and the sums of their lanes.
template <class T> XENT_INLINE bool by_dots(ptrdiff_t D, ptrdiff_t K) {
    constexpr ptrdiff_t W = Vec<T>::width;
    return W >= 4 && K * ((D + W - 1) / W + 6) < D * ((K + W - 1) / W);
}

template <class T, int C>
void dots_of(ptrdiff_t classes, const T* x, const T* w, const T* bias, T* z, ptrdiff_t D, ptrdiff_t K, ptrdiff_t rows,
             Fetch& fetch) {
    if constexpr (C > 0) {
        if (classes < C) return dots_of<T, C - 1>(classes, x, w, bias, z, D, K, rows, fetch);
        constexpr ptrdiff_t W = Vec<T>::width, R = dot_rows<T, C>();
        T start[(R * C + W - 1) / W * W] = {};
        for (ptrdiff_t i = 0; bias && i < R * C; i++) start[i] = bias[i % C];
        const char* end = fetch.at + fetch.lines * LINE;
        // Several streams through one page of memory are not recognised as streams: rows that are long are taken from
        // places far apart, and each stream goes on from row to row.
        const bool far = R * D * ptrdiff_t(sizeof(T)) > PAGE;
        const ptrdiff_t apart = far ? (rows + R - 1) / R : 1, step = far ? 1 : R;
        for (ptrdiff_t i = 0; i < (far ? apart : rows); i += step) {
            if (fetch.at >= end) fetch.each = 0;
            dots<T, C>(x + i * D, w, start, z + i * K, D, K, rows - i, apart, fetch);
        }
        fetch.lines = (end - fetch.at) / LINE;
    }
}

// Logits of `rows` rows: z (rows, K). `packed` is w turned over, in panels.
template <class T>
void logits(const T* x, const T* w, const T* packed, const T* bias, T* z, ptrdiff_t D, ptrdiff_t K, ptrdiff_t rows,
            Ahead ahead) {
    constexpr ptrdiff_t P = panel_width<T>();
    if constexpr (Vec<T>::width >= 4) {
        if (by_dots<T>(D, K)) {
            const ptrdiff_t groups = (K + MOST_DOTS - 1) / MOST_DOTS, C = (K + groups - 1) / groups;
            const ptrdiff_t at_once = C == 1 ? Vec<T>::width : SUMS / C < 8 ? SUMS / C : 8;
            const ptrdiff_t steps = groups * (rows / at_once + 1) * (D / Vec<T>::width + 1);
            const ptrdiff_t lines = (ahead.end - ahead.at) / LINE;
            Fetch fetch = {ahead.at, lines, (lines + steps - 1) / steps};
            for (ptrdiff_t k = 0; k < K; k += C)
                dots_of<T, MOST_DOTS>(K - k < C ? K - k : C, x, w + k * D, bias ? bias + k : bias, z + k, D, K, rows,
                                      fetch);
            return;
        }
    }
    matmul<T>({rows, K, D, x, D, 1, packed, P, P * D, true, z, K, false, false, ahead, bias});
}

// The same of rows that are stored in the other type, and are left in x.
template <class T>
void other_logits(const Other<T>* from, T* x, const T* w, const T* packed, const T* bias, T* z, ptrdiff_t D,
                  ptrdiff_t K, ptrdiff_t rows, Ahead ahead) {
    from_other(from, x, rows * D);
    logits(x, w, packed, bias, z, D, K, rows, ahead);
}

// db (K) += the sums of the columns of r (rows, K). Several rows side by side: a sum that is added to in every row
// waits for itself.
template <class T> void add_columns(const T* r, ptrdiff_t K, ptrdiff_t rows, double* db) {
    constexpr ptrdiff_t W = Vec<T>::width, SIDE = 128;
    const ptrdiff_t side = K < SIDE ? SIDE / K : 1, n = side * K;
    if (side == 1) {
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t k = 0; k < K; k++) db[k] += r[i * K + k];
        return;
    }
    double sum[SIDE + W] = {};
    auto add = [&](ptrdiff_t j, V<T> v) {
        const Wide<T> more = load_wide<T>(sum + j) + widened(v);
        for (int h = 0; h < Wide<T>::n; h++) store(sum + j + h * Vec<double>::width, more.v[h]);
    };
    for (ptrdiff_t i = 0; i < rows; i += side) {
        const T* from = r + i * K;
        const ptrdiff_t m = rows - i < side ? (rows - i) * K : n;
        ptrdiff_t j = 0;
        for (; j + W <= m; j += W) add(j, load(from + j));
        if (j < m) add(j, load_some(from + j, m - j, T(0)));
    }
    for (ptrdiff_t i = 0; i < side; i++)
        for (ptrdiff_t k = 0; k < K; k++) db[k] += sum[i * K + k];
}

// n numbers past the caches: whole lines, and what is left of a line at either end as usual.
template <class T> void copy_past(const T* from, T* to, ptrdiff_t n) {
    constexpr ptrdiff_t W = Vec<T>::width;
    const ptrdiff_t skew = ptrdiff_t((uintptr_t)to & (LINE - 1)) / ptrdiff_t(sizeof(T));
    ptrdiff_t i = skew ? LINE / ptrdiff_t(sizeof(T)) - skew : 0;
    i = i < n ? i : n;
    std::memcpy(to, from, i * sizeof(T));
    const ptrdiff_t last = i + (n - i) * ptrdiff_t(sizeof(T)) / LINE * LINE / ptrdiff_t(sizeof(T));
    for (; i < last; i += W) stream(to + i, load(from + i));
    std::memcpy(to + i, from + i, (n - i) * sizeof(T));
    stream_fence();
}

}  // namespace XENT_NAMESPACE
