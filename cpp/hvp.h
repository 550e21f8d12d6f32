// The directional derivative of a row's gradient in its logits. With p the softmax, v the logits' direction, and
// s' = p.v, t' = q.v how the statistics move along it,
//
//     r'_j = l_s p_j (v_j - s') + (l_ss s' + l_st t') p_j + (l_st s' + l_tt t') q_j.
//
// v is measured from its entry at the largest logit: the average of what is left is then made of the other classes, and
// v_j - s' of a confident row does not cancel. At the entry that carries the target, p - q is minus the others' sum.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

using xent::Curvatures;
using xent::Slopes;
using xent::Target;

// What one row needs beyond its vectors.
struct HvpRow {
    double m = 0, centre = 0;                     // the largest logit, and v there
    double rest = 0, count = 0, mean = 0, t = 0;  // sums of e away from m, of those at it, of e (v - c), of q (v - c)
    ptrdiff_t heavy = -1;                         // the class with more than half of the target
    double x = 0, q = 1;                          // its logit from m, its share
    double total() const { return rest + count; }
    double p_minus_1(double e) const { return (x == 0 ? -(rest + (count - 1)) : e - total()) / total(); }
};

// Calls f with each vector's place and length.
template <class T, class F> XENT_INLINE void each_vector(ptrdiff_t begin, ptrdiff_t end, F f) {
    constexpr ptrdiff_t W = Vec<T>::width;
    ptrdiff_t j = begin;
    for (; j + W <= end; j += W) f(j, W);
    if (j < end) f(j, end - j);
}

template <class T> XENT_INLINE V<T> load_up_to(const T* p, ptrdiff_t n, T fill) {
    return n == Vec<T>::width ? load(p) : load_some(p, n, fill);
}

template <class T> XENT_INLINE void store_up_to(T* p, V<T> v, ptrdiff_t n) {
    if (n == Vec<T>::width) store(p, v);
    else store_some(p, v, n);
}

// Leaves exp(a - m) in a.
template <class T> XENT_INLINE HvpRow hvp_sums(T* a, const T* v, const T* q, ptrdiff_t label, ptrdiff_t K) {
    constexpr ptrdiff_t BLOCK = 4096;  // numbers summed in T before the sum moves to float64
    const T lowest = -__builtin_inf();
    const V<T> zero = {}, one = splat(T(1));
    HvpRow row;
    V<T> top = splat(lowest);
    each_vector<T>(0, K, [&](ptrdiff_t j, ptrdiff_t n) { top = larger<T>(load_up_to(a + j, n, lowest), top); });
    const T m = largest_lane<T>(top);
    const V<T> vm = splat(m);
    V<T> at = splat(lowest);
    each_vector<T>(0, K, [&](ptrdiff_t j, ptrdiff_t n) {
        at = larger<T>(load_up_to(a + j, n, lowest) == vm ? load_up_to(v + j, n, lowest) : splat(lowest), at);
    });
    const V<T> centre = splat(largest_lane<T>(at));
    row.m = m, row.centre = centre[0];
    row.heavy = label;
    if (q)
        each_vector<T>(0, K, [&](ptrdiff_t j, ptrdiff_t n) {
            if (largest_lane<T>(load_up_to(q + j, n, T(0))) > T(0.5))
                for (ptrdiff_t l = j; l < j + n; l++)
                    if (q[l] > T(0.5)) row.heavy = l, row.q = q[l];
        });
    if (row.heavy >= 0) row.x = double(a[row.heavy]) - row.m;
    for (ptrdiff_t start = 0; start < K; start += BLOCK) {
        V<T> rest = zero, count = zero, mean = zero, t = zero;
        each_vector<T>(start, K < start + BLOCK ? K : start + BLOCK, [&](ptrdiff_t j, ptrdiff_t n) {
            const V<T> z = load_up_to(a + j, n, lowest), e = exp(z - vm);
            const V<T> step = n == Vec<T>::width ? load(v + j) - centre : load_some(v + j, n, centre[0]) - centre;
            const auto is_top = z == vm;
            rest += is_top ? zero : e;
            count += is_top ? one : zero;
            mean += e * step;
            if (q) t += load_up_to(q + j, n, T(0)) * step;
            store_up_to(a + j, e, n);
        });
        row.rest += sum_lanes(rest);
        row.count += sum_lanes(count);
        row.mean += sum_lanes(mean);
        if (q) row.t += sum_lanes(t);
    }
    row.mean /= row.total();
    if (!q) row.t = double(v[label]) - row.centre;
    return row;
}

// How the slopes in s and t move along v.
struct Along {
    double s = 0, t = 0;
};

XENT_INLINE Along along(const Curvatures& bend, ptrdiff_t i, const HvpRow& row) {
    if (!bend.ss) return {};
    const double ss = bend.ss[i], st = bend.st[i], tt = bend.tt[i];
    return {ss * row.mean + st * row.t + (ss + st) * row.centre, st * row.mean + tt * row.t + (st + tt) * row.centre};
}

template <class T>
XENT_INLINE void hvp_row(T* a, T* v, const T* q, ptrdiff_t label, const double* l, double w, Curvatures bend,
                         ptrdiff_t i, bool keep, ptrdiff_t K) {
    const HvpRow row = hvp_sums(a, v, q, label, K);
    if (row.m - row.m != 0) {  // an infinite or undefined maximum: no number of the row has a meaning
        for (ptrdiff_t j = 0; j < K; j++) v[j] = a[j] = T(__builtin_nan(""));
        return;
    }
    const Along go = along(bend, i, row);
    const double ls = l[0], lt = l[1], lu = l[2], p = 1 / row.total();
    const double e = row.heavy >= 0 ? a[row.heavy] : 0, below = row.p_minus_1(e);
    const double step = row.heavy >= 0 ? v[row.heavy] - row.centre : 0;
    const V<T> slope = splat(T(w * ls * p)), offset = splat(T(w * p * (go.s - ls * row.mean)));
    const V<T> by_q = splat(T(w * go.t)), centre = splat(T(row.centre));
    const V<T> keep_p = splat(T(w * ls * p)), keep_q = splat(T(w * lt)), keep_u = splat(T(w * lu));
    const bool in_q = q && bend.ss;
    each_vector<T>(0, K, [&](ptrdiff_t j, ptrdiff_t n) {
        const V<T> z = load_up_to(a + j, n, T(0));
        V<T> d = z * ((load_up_to(v + j, n, T(0)) - centre) * slope + offset);
        if (in_q) d += load_up_to(q + j, n, T(0)) * by_q;
        store_up_to(v + j, d, n);
        if (!keep) return;
        V<T> r = z * keep_p + keep_u;
        if (q) r += load_up_to(q + j, n, T(0)) * keep_q;
        store_up_to(a + j, r, n);
    });
    if (row.heavy < 0) return;
    if (bend.ss) v[row.heavy] = T(w * (e * p * (ls * (step - row.mean) + go.s + go.t) - go.t * (below + (1 - row.q))));
    if (keep) a[row.heavy] = T(w * (ls * below + (ls + lt) - lt * (1 - row.q) + lu));
}

template <class T>
void row_hvp(T* a, T* v, Target<T> q, Slopes slopes, Curvatures bend, bool keep, ptrdiff_t K, ptrdiff_t begin,
             ptrdiff_t end) {
    for (ptrdiff_t i = begin; i < end; i++) {
        T *logits = a + i * K, *direction = v + i * K;
        const double w = slopes.weight ? slopes.weight[i] : 1.0;
        if ((q.label && q.label[i] < 0) || w == 0) {
            std::memset(direction, 0, K * sizeof(T));
            if (keep) std::memset(logits, 0, K * sizeof(T));
            continue;
        }
        const ptrdiff_t at = i * slopes.stride;
        const double l[] = {slopes.s[at], slopes.t[at], slopes.u[at]};
        hvp_row(logits, direction, q.probs ? q.probs + i * K : nullptr, q.probs ? -1 : q.label[i], l, w, bend, i, keep,
                K);
    }
}

}  // namespace XENT_NAMESPACE
