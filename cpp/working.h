// What a fit with an L1 penalty needs of the few columns that may move: taken out of sparse rows once, their weighted
// products, and the loss of two classes from one logit a row.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

using xent::Csr;

// Whether a row's entries and their columns lie within the matrix.
template <class T, class I> XENT_INLINE bool within(const Csr<T, I>& x, ptrdiff_t i) {
    typedef std::make_unsigned_t<I> U;
    if (x.start[i] < 0 || x.start[i + 1] < x.start[i] || x.start[i + 1] > x.nonzeros) return false;
    U largest = 0;
    for (int64_t at = x.start[i]; at < x.start[i + 1]; at++) {
        const U c = U(x.column[at]);
        largest = c > largest ? c : largest;
    }
    return x.start[i] == x.start[i + 1] || uint64_t(largest) < uint64_t(x.D);
}

// The entries in columns that have a place (not -1), in the order in which they lie. Every entry is written, and the
// place behind the last moves on for those that stay: which do is too irregular to be guessed.
template <class T, class I>
int64_t take_columns(const Csr<T, I>& x, const int32_t* place, ptrdiff_t N, int64_t room, int64_t* start, int32_t* column,
                     double* value, ptrdiff_t* bad) {
    int64_t n = 0;
    for (ptrdiff_t i = 0; i < N; i++) {
        start[i] = n;
        if (!within(x, i)) {
            *bad = i;
            return 0;
        }
        const int64_t count = x.start[i + 1] - x.start[i];
        const I* from = x.column + x.start[i];
        const T* given = x.value + x.start[i];
        if (n + count <= room) {
            for (int64_t at = 0; at < count; at++) {
                const int32_t p = place[from[at]];
                column[n] = p;
                value[n] = double(given[at]);
                n += p >= 0;
            }
        } else {  // the last rows, which may not fit but for what stays
            for (int64_t at = 0; at < count; at++) {
                const int32_t p = place[from[at]];
                if (p < 0) continue;
                if (n < room) column[n] = p, value[n] = double(given[at]);
                n++;
            }
        }
    }
    start[N] = n;
    return n;
}

// out (P, P) += half of sum_i weight_i x_i x_i' over every step-th row, the first of which is `first`, but for the products of the first `known` columns
// with each other: its sum with its transpose is the whole. Rows may be unsorted and name a column twice. `diagonal`
// (P), where not null: += the squares of every row.
static void add_gram(const int64_t* start, const int32_t* column, const double* value, const double* weight, ptrdiff_t N,
                     ptrdiff_t step, ptrdiff_t first, ptrdiff_t known, ptrdiff_t P, double* out, double* diagonal) {
    for (ptrdiff_t i = 0; i < N; i++) {
        const ptrdiff_t n = start[i + 1] - start[i];
        const int32_t* c = column + start[i];
        const double* v = value + start[i];
        if (diagonal)
            for (ptrdiff_t a = 0; a < n; a++) diagonal[c[a]] += weight[i] * v[a] * v[a];
        if (i < first || (i - first) % step) continue;
        for (ptrdiff_t a = 0; a < n; a++) {
            if (c[a] < known) continue;
            const double s = weight[i] * v[a], half = 0.5 * s;
            double* row = out + c[a] * P;
            if (known) {  // new ones are met twice, once from each
                for (ptrdiff_t b = 0; b < n; b++) row[c[b]] += (c[b] < known ? s : half) * v[b];
                continue;
            }
            row[c[a]] += half * v[a];
#pragma GCC unroll 4
            for (ptrdiff_t b = 0; b < a; b++) row[c[b]] += s * v[b];
        }
    }
}

// z (N) = what the columns times w are.
static void add_up_rows(const int64_t* start, const int32_t* column, const double* value, ptrdiff_t N, const double* w,
                        double* z) {
    for (ptrdiff_t i = 0; i < N; i++) {
        double sum[4] = {};
        int64_t at = start[i];
        for (; at + 4 <= start[i + 1]; at += 4)
            for (int u = 0; u < 4; u++) sum[u] += value[at + u] * w[column[at + u]];
        for (; at < start[i + 1]; at++) sum[0] += value[at] * w[column[at]];
        z[i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
}

// g (P) += each column's product with r.
static void pull_back(const int64_t* start, const int32_t* column, const double* value, ptrdiff_t N, const double* r,
                      double* g) {
    constexpr int U = 4;
    for (ptrdiff_t i = 0; i < N; i++) {
        int64_t at = start[i];
        for (; at + U <= start[i + 1]; at += U) {
            double product[U];
            for (int u = 0; u < U; u++) product[u] = value[at + u] * r[i];
            for (int u = 0; u < U; u++) g[column[at + u]] += product[u];
        }
        for (; at < start[i + 1]; at++) g[column[at]] += value[at] * r[i];
    }
}

// g (D) += x' r for all columns of sparse rows, in double; the first row that does not lie within the matrix, or -1. The
// rows come from memory, and the hardware fetches them too late.
template <class T, class I> ptrdiff_t pull_back_rows(const Csr<T, I>& x, ptrdiff_t N, const double* r, double* g) {
    constexpr int U = 8;
    constexpr ptrdiff_t far = 512;
    for (ptrdiff_t i = 0; i < N; i++) {
        if (!within(x, i)) return i;
        const I* c = x.column + x.start[i];
        const T* v = x.value + x.start[i];
        const ptrdiff_t n = x.start[i + 1] - x.start[i];
        ptrdiff_t at = 0;
        for (; at + U <= n; at += U) {
            __builtin_prefetch(c + at + far);
            __builtin_prefetch(v + at + far);
            double product[U];
            for (int u = 0; u < U; u++) product[u] = double(v[at + u]) * r[i];
            for (int u = 0; u < U; u++) g[c[at + u]] += product[u];
        }
        for (; at < n; at++) g[c[at]] += double(v[at]) * r[i];
    }
    return -1;
}

// Two classes with the logit z of the second: its probability p, the slope r = w (p - y), and the sum of the losses.
static double logistic_rows(const double* z, const int64_t* label, const double* weight, ptrdiff_t N, double* p,
                            double* r) {
    constexpr int W = Vec<double>::width;
    const VecD zero{}, one = splat(1.0);
    VecD sum{};
    for (ptrdiff_t i = 0; i < N; i += W) {
        const ptrdiff_t n = N - i;
        VecD a, w, y;
        if (n >= W) {
            a = load(z + i), w = load(weight + i), y = __builtin_convertvector((VecI64)load((const double*)(label + i)), VecD);
        } else {
            double last[W] = {};
            for (ptrdiff_t k = 0; k < n; k++) last[k] = double(label[i + k]);
            a = load_some(z + i, n, 0.0), w = load_some(weight + i, n, 0.0), y = load(last);
        }
        // towards the other class: |a| is how far, and e its share beside this one
        const VecD far = a < zero ? a : -a, e = exp(far), other = e / (one + e);
        const VecD against = y > zero ? -a : a;
        const VecD loss = log1p_positive(e) + (against <= zero ? zero : against);  // NaN stays one
        const VecD q = a < zero ? other : one / (one + e);
        // p - y: minus the share of the first class where y is the second
        const VecD slope = y > zero ? -(a < zero ? one / (one + e) : other) : q;
        sum += w * loss;
        if (n >= W) store(p + i, q), store(r + i, w * slope);
        else store_some(p + i, q, n), store_some(r + i, w * slope, n);
    }
    return sum_lanes(sum);
}

}  // namespace XENT_NAMESPACE
