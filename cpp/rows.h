// The two operations on logits, row by row, and both in one pass: for rows of more classes than a few vectors.
#pragma once

#include <cmath>
#include <cstdlib>

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

using xent::Slopes;
using xent::Stats;
using xent::Target;

// Elements summed in T before the sum moves to float64: bounds the rounding of long float32 rows.
constexpr ptrdiff_t BLOCK = 4096;

template <class T> XENT_INLINE T row_max(const T* a, ptrdiff_t K) {
    constexpr int W = Vec<T>::width;
    const T lowest = -__builtin_inf();
    V<T> m0 = splat(lowest), m1 = m0, m2 = m0, m3 = m0;
    ptrdiff_t j = 0;
    for (; j + 4 * W <= K; j += 4 * W) {
        m0 = larger<T>(load(a + j), m0);
        m1 = larger<T>(load(a + j + W), m1);
        m2 = larger<T>(load(a + j + 2 * W), m2);
        m3 = larger<T>(load(a + j + 3 * W), m3);
    }
    for (; j + W <= K; j += W) m0 = larger<T>(load(a + j), m0);
    if (j < K) m1 = larger<T>(load_some(a + j, K - j, lowest), m1);
    return largest_lane<T>(larger<T>(larger<T>(m0, m1), larger<T>(m2, m3)));
}

// Sums over one row of e = exp(a - m), leaving out the entries at the maximum itself, which are counted: then
// log1p(rest + count - 1) keeps the digits of a confident row. Optionally stores e, sums a - m and q (a - m).
template <class T> struct RowSums {
    double rest = 0, at_max = 0, t = 0, u = 0;
};

// One vector of a row, or its last n lanes: -inf stands beyond the row for the sums of exp, and what adds 0 to t and u.
template <class T, bool STORE, bool SOFT> struct RowLane {
    const V<T> m, zero = {}, one = splat(T(1));
    V<T> rest = {}, count = {}, t = {}, u = {};

    explicit RowLane(T max) : m(splat(max)) {}

    inline __attribute__((always_inline)) void add(const T* a, const T* q, T* e, ptrdiff_t n, bool want_u) {
        const bool whole = n == Vec<T>::width;
        const V<T> z = whole ? load(a) : load_some(a, n, T(-__builtin_inf()));
        const V<T> x = z - m, v = exp(x);
        const auto top = z == m;
        rest += top ? zero : v;
        count += top ? one : zero;
        if (SOFT) {
            const V<T> p = whole ? load(q) : load_some(q, n, T(0));
            t += p == zero ? zero : p * x;  // 0 log 0 = 0
        }
        if (want_u) u += whole ? x : load_some(a, n, m[0]) - m;
        if (STORE) {  // last: e may be a
            if (whole) store(e, v);
            else store_some(e, v, n);
        }
    }
};

template <class T, bool STORE, bool SOFT>
XENT_INLINE RowSums<T> row_sums(const T* a, const T* q, T m, T* e, ptrdiff_t K, bool want_u) {
    constexpr int W = Vec<T>::width;
    RowSums<T> out;
    for (ptrdiff_t start = 0; start < K; start += BLOCK) {
        const ptrdiff_t stop = start + BLOCK < K ? start + BLOCK : K;
        RowLane<T, STORE, SOFT> lane(m);
        ptrdiff_t j = start;
        for (; j + W <= stop; j += W) lane.add(a + j, SOFT ? q + j : q, STORE ? e + j : e, W, want_u);
        if (j < stop) lane.add(a + j, SOFT ? q + j : q, STORE ? e + j : e, stop - j, want_u);
        out.rest += sum_lanes<T>(lane.rest);
        out.at_max += sum_lanes<T>(lane.count);
        if (SOFT) out.t += sum_lanes<T>(lane.t);
        if (want_u) out.u += sum_lanes<T>(lane.u);
    }
    return out;
}

// Infinite or undefined maximum: no number of the row has a meaning.
XENT_INLINE bool undefined(double m) { return m - m != 0; }

template <class T> XENT_INLINE double log_sum(const RowSums<T>& sums, double m) {
    return undefined(m) ? __builtin_nan("") : std::log1p(sums.rest + (sums.at_max - 1));
}

template <class T> void wide_stats(const T* a, Target<T> q, Stats out, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    for (ptrdiff_t i = begin; i < end; i++) {
        if (q.label && q.label[i] < 0) {
            out.m[i] = out.s[i] = out.t[i] = 0;
            if (out.u) out.u[i] = 0;
            continue;
        }
        const T* row = a + i * K;
        const T m = row_max(row, K);
        RowSums<T> sums = q.probs ? row_sums<T, false, true>(row, q.probs + i * K, m, nullptr, K, out.u != nullptr)
                                  : row_sums<T, false, false>(row, nullptr, m, nullptr, K, out.u != nullptr);
        out.m[i] = m;
        out.s[i] = log_sum(sums, m);
        out.t[i] = q.probs ? sums.t : double(row[q.label[i]]) - double(m);
        if (out.u) out.u[i] = sums.u;
    }
}

// da_j = e_j * scale + lt q_j + lu for a whole row; the entries that hold most of the target are done again in float64
// with expm1, so that p_t - 1 is minus the others' sum and not a difference of two ones.
template <class T, bool STREAM>
XENT_INLINE void finish_row(const T* e, const T* q, T scale, T lt, T lu, T* da, ptrdiff_t K) {
    constexpr int W = Vec<T>::width;
    const V<T> vs = splat(scale), vt = splat(lt), vu = splat(lu);
    ptrdiff_t j = 0;
    for (; j + W <= K; j += W) {
        V<T> g = load(e + j) * vs + vu;
        if (q) g = load(q + j) * vt + g;
        if (STREAM) stream(da + j, g);
        else store(da + j, g);
    }
    if (j < K) {
        V<T> g = load_some(e + j, K - j, T(0)) * vs + vu;
        if (q) g = load_some(q + j, K - j, T(0)) * vt + g;
        store_some(da + j, g, K - j);
    }
}

struct RowSlopes {
    double s, t, u;
};

XENT_INLINE RowSlopes slopes_of(const Slopes& all, ptrdiff_t i) {
    const double w = all.weight ? all.weight[i] : 1.0;
    return {w * all.s[i * all.stride], w * all.t[i * all.stride], w * all.u[i * all.stride]};
}

// The class that carries more than half of the target (the label, where it is hard), with its logit from the maximum.
// There p - q = -(sum of the other p) + (1 - q), where p - q itself would cancel.
struct Heavy {
    ptrdiff_t at = -1;
    double x = 0, q = 1;
};

template <class T> XENT_INLINE Heavy find_heavy(const T* row, Target<T> q, ptrdiff_t i, double m, ptrdiff_t K) {
    Heavy h;
    if (!q.probs) {
        h.at = q.label[i];
    } else {
        constexpr int W = Vec<T>::width;
        const T* p = q.probs + i * K;
        for (ptrdiff_t j = 0; j < K && h.at < 0; j += W) {
            const ptrdiff_t n = K - j < W ? K - j : W;
            if (!(largest_lane<T>(n == W ? load(p + j) : load_some(p + j, n, T(0))) > T(0.5))) continue;
            for (ptrdiff_t l = j; l < j + n; l++)
                if (p[l] > T(0.5)) h.at = l;
        }
        if (h.at >= 0) h.q = p[h.at];
    }
    if (h.at >= 0) h.x = double(row[h.at]) - m;
    return h;
}

// The gradient there, from p - 1.
XENT_INLINE double heavy_grad(RowSlopes l, double p_minus_1, double q) {
    return l.s * p_minus_1 + (l.s + l.t) - l.t * (1 - q) + l.u;
}

template <class T> XENT_INLINE void mend(T* da, const Heavy& h, RowSlopes l, double p_minus_1, double m, ptrdiff_t K) {
    if (undefined(m))
        for (ptrdiff_t j = 0; j < K; j++) da[j] = T(__builtin_nan(""));
    else if (h.at >= 0) da[h.at] = T(heavy_grad(l, p_minus_1, h.q));
}

// p - 1 of an entry x below the maximum of its row, from the sums of the row: the maximum's own 1 never enters.
XENT_INLINE double p_minus_1(double x, double e, double rest, double at_max) {
    return (x == 0 ? -(rest + (at_max - 1)) : e - (rest + at_max)) / (rest + at_max);
}

template <class T> XENT_INLINE void zero_row(T* da, ptrdiff_t K) { std::memset(da, 0, K * sizeof(T)); }

// A weight of 0 leaves a row out as a label of -1 does: nothing in it, NaN included, may reach a gradient.
template <class T> XENT_INLINE bool left_out(Target<T> q, const Slopes& slopes, ptrdiff_t i) {
    return (q.label && q.label[i] < 0) || (slopes.weight && slopes.weight[i] == 0);
}

// A row of scratch, on a vector boundary; data is null where there is no memory for it.
template <class T> struct Scratch {
    T* data;
    void* base;
    explicit Scratch(ptrdiff_t n) {
        base = std::malloc(n * sizeof(T) + 128);
        data = base ? (T*)(((uintptr_t)base + 63) & ~(uintptr_t)63) : nullptr;
    }
    ~Scratch() { std::free(base); }
};

// Slopes may be 0 (smoothing of 1, say) where the statistic is infinite.
XENT_INLINE double times(double slope, double value) { return slope != 0 ? slope * value : 0.0; }

// e may be da itself: then the target's logit is read before it is overwritten.
template <class T>
XENT_INLINE void fused_row(const T* row, Target<T> q, ptrdiff_t i, RowSlopes l, RowSlopes plain, double* loss, T* e,
                           T* da, ptrdiff_t K) {
    const T m = row_max(row, K);
    const T* probs = q.probs ? q.probs + i * K : nullptr;
    const bool want_u = plain.u != 0;
    const Heavy heavy = find_heavy(row, q, i, m, K);
    const RowSums<T> sums = probs ? row_sums<T, true, true>(row, probs, m, e, K, want_u)
                                  : row_sums<T, true, false>(row, nullptr, m, e, K, want_u);
    const double s = log_sum(sums, m), t = probs ? sums.t : heavy.x;
    loss[i] = plain.s * s + times(plain.t, t) + times(plain.u, sums.u);
    const T scale = T(l.s / (sums.rest + sums.at_max));
    const double below = heavy.at < 0 ? 0 : p_minus_1(heavy.x, e[heavy.at], sums.rest, sums.at_max);
    if (e != da && ((uintptr_t)da & (XENT_VECTOR_BYTES - 1)) == 0)
        finish_row<T, true>(e, probs, scale, T(l.t), T(l.u), da, K);
    else finish_row<T, false>(e, probs, scale, T(l.t), T(l.u), da, K);
    mend(da, heavy, l, below, m, K);
}

template <class T>
void wide_fused(const T* a, Target<T> q, Slopes slopes, double* loss, T* da, ptrdiff_t K, ptrdiff_t begin,
                ptrdiff_t end) {
    Scratch<T> scratch(a != da ? K : 0);
    const bool apart = a != da && scratch.data;
    const RowSlopes plain = {slopes.s[0], slopes.t[0], slopes.u[0]};
    for (ptrdiff_t i = begin; i < end; i++) {
        T* out = da + i * K;
        if (left_out(q, slopes, i)) {
            zero_row(out, K);
            loss[i] = 0;
            continue;
        }
        fused_row(a + i * K, q, i, slopes_of(slopes, i), plain, loss, apart ? scratch.data : out, out, K);
    }
    if (apart) stream_fence();
}

template <class T>
void wide_grad(const T* a, Target<T> q, Stats in, Slopes slopes, T* da, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    constexpr int W = Vec<T>::width;
    for (ptrdiff_t i = begin; i < end; i++) {
        const T* row = a + i * K;
        T* out = da + i * K;
        const RowSlopes l = slopes_of(slopes, i);
        if (left_out(q, slopes, i) || (l.s == 0 && l.t == 0 && l.u == 0)) {
            zero_row(out, K);
            continue;
        }
        const double m = in.m[i], s = in.s[i];
        const T* probs = q.probs ? q.probs + i * K : nullptr;
        const Heavy heavy = find_heavy(row, q, i, m, K);
        const V<T> vm = splat(T(m)), vs = splat(T(l.s * std::exp(-s))), vt = splat(T(l.t)), vu = splat(T(l.u));
        ptrdiff_t j = 0;
        for (; j + W <= K; j += W) {
            V<T> g = exp(load(row + j) - vm) * vs + vu;
            if (probs) g = load(probs + j) * vt + g;
            store(out + j, g);
        }
        if (j < K) {
            V<T> g = exp(load_some(row + j, K - j, T(m)) - vm) * vs + vu;
            if (probs) g = load_some(probs + j, K - j, T(0)) * vt + g;
            store_some(out + j, g, K - j);
        }
        mend(out, heavy, l, std::expm1(heavy.x - s), m, K);
    }
}

}  // namespace XENT_NAMESPACE
