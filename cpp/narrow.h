// The operations of rows.h for few classes: a block of rows at a time, transposed so that each vector holds one class
// of many rows. A row of ten classes would leave most of a vector empty, and its sums across lanes would cost more than
// its exponentials.
#pragma once

#include "rows.h"
#include "turn.h"

namespace XENT_NAMESPACE {

template <class T> using Mask = typename Vec<T>::bits;

// Labels as lanes of the width of T.
XENT_INLINE VecI64 labels_of(const int64_t* p, double) { return (VecI64)load((const double*)p); }
XENT_INLINE VecI32 labels_of(const int64_t* p, float) {
    return joined(__builtin_convertvector((VecI64)load((const double*)p), HalfI32),
                  __builtin_convertvector((VecI64)load((const double*)(p + Vec<double>::width)), HalfI32));
}

constexpr ptrdiff_t AHEAD = 1024;  // numbers, at least

// Where a block of W whole rows lies: in the arrays, or, for the rows at the end, in a copy.
template <class S> struct Source {
    const S* a;
    const S* ahead;  // what is fetched meanwhile: the hardware does not see through the order of a transposed read
    const int64_t* label;  // null: every row counts
    const Computed<S>* probs;
    const double* weight;
};

// A copy of the last rows, fewer than W; the lanes beyond them are left out.
template <class S> struct Padded {
    typedef Computed<S> T;
    static constexpr int W = Vec<T>::width;
    S a[W * NARROW];
    T probs[W * NARROW];
    int64_t label[W];
    double weight[W] = {};

    Source<S> fill(const Source<S>& from, int rows, ptrdiff_t K) {
        std::memset((void*)a, 0, W * K * sizeof(S));
        if (from.probs) std::memset(probs, 0, W * K * sizeof(T));
        std::memcpy((void*)a, from.a, rows * K * sizeof(S));
        if (from.probs) std::memcpy(probs, from.probs, rows * K * sizeof(T));
        for (int l = 0; l < W; l++) label[l] = l >= rows ? -1 : from.label ? from.label[l] : 0;
        if (from.weight) std::memcpy(weight, from.weight, rows * sizeof(double));
        return {a, a, label, from.probs ? probs : nullptr, from.weight ? weight : nullptr};
    }
};

// The block of rows from i, of `rows` taken at once.
template <class S>
XENT_INLINE Source<S> source(const S* a, const Target<Computed<S>>& q, const double* weight, ptrdiff_t K, ptrdiff_t i,
                             ptrdiff_t rows = Vec<Computed<S>>::width) {
    return {a + i * K, a + i * K + (rows * K > AHEAD ? rows * K : AHEAD), q.label ? q.label + i : nullptr,
            q.probs ? q.probs + i * K : nullptr, weight ? weight + i : nullptr};
}

// One block: its logits, then exp(z - m), then the gradient, and its target. Lanes that are left out hold zeros.
// KC is the number of classes where that is worth code of its own, so that all is in registers; 0: K, whatever it is.
template <class S, int KC, bool SOFT> struct Block {
    typedef Computed<S> T;
    static constexpr int W = Vec<T>::width, MOST = KC ? KC : NARROW;
    V<T> z[MOST], q[SOFT ? MOST : 1];
    Mask<T> label, kept;

    inline __attribute__((always_inline)) void read(const Source<S>& from, ptrdiff_t K) {
        for (ptrdiff_t j = 0; j < W * K; j += 64 / ptrdiff_t(sizeof(S))) __builtin_prefetch(from.ahead + j);
        transposed(from.a, z, K);
        if (SOFT) transposed(from.probs, q, K);
        label = kept = Mask<T>{} - 1;
        if (from.label) label = labels_of(from.label, T()), kept = label >= 0;
        if (from.weight) kept &= not_zero(load_wide<T>(from.weight));
        if (!all(kept))
            for (ptrdiff_t k = 0; k < K; k++) {
                z[k] = kept ? z[k] : V<T>{};
                if (SOFT) q[k] = kept ? q[k] : V<T>{};
            }
    }

    // The lanes whose class k carries more than half of the target.
    inline __attribute__((always_inline)) Mask<T> heavy(ptrdiff_t k) const {
        if constexpr (SOFT) return q[k] > T(0.5);
        else return label == (decltype(label[0] + 0))k;
    }

    // The logit of each lane's label: with many classes quicker than to look at every class.
    static constexpr bool gathers = !SOFT && KC == 0;
    inline __attribute__((always_inline)) V<T> at_label() const {
        return gathered<T>((const T*)z, (label > 0 ? label : Mask<T>{}) * W);
    }
};

// What row_sums finds, for each lane, and the entry that carries the target: its share of it, and exp(z - m).
template <class T> struct BlockSums {
    V<T> m, rest = {}, at_max = {}, t = {}, u = {}, x = {}, e = {}, share = {};
};

// Two classes: one exponential does.
template <class S, bool KEEP, bool SOFT>
XENT_INLINE BlockSums<Computed<S>> block_sums(Block<S, 2, SOFT>& b, V<Computed<S>>, ptrdiff_t, bool) {
    typedef Computed<S> T;
    const V<T> zero = {}, one = splat(T(1)), a = b.z[0], c = b.z[1];
    BlockSums<T> out;
    const auto first = a >= c;
    const V<T> x = first ? c - a : a - c, e = exp(x), first_x = first ? zero : x, second_x = first ? x : zero;
    const V<T> first_e = first ? one : e, second_e = first ? e : one;
    const auto here = b.heavy(1), there = b.heavy(0);
    out.m = (first ? a : c) + (x <= zero ? zero : x);  // NaN anywhere makes the row one
    out.rest = e;
    out.at_max = one;
    out.u = x;
    out.x = here ? second_x : there ? first_x : zero;
    out.e = here ? second_e : there ? first_e : zero;
    if constexpr (SOFT) {
        out.t = (b.q[0] == zero ? zero : b.q[0] * first_x) + (b.q[1] == zero ? zero : b.q[1] * second_x);
        out.share = here ? b.q[1] : there ? b.q[0] : zero;
    } else out.t = out.x, out.share = one;
    if (KEEP) b.z[0] = first_e, b.z[1] = second_e;
    return out;
}

template <class S, int KC, bool SOFT>
XENT_INLINE V<Computed<S>> block_max(const Block<S, KC, SOFT>& b, ptrdiff_t K) {
    typedef Computed<S> T;
    const V<T> lowest = splat(T(-__builtin_inf()));
    V<T> m[2] = {lowest, lowest};
    ptrdiff_t k = 0;
    for (; k + 2 <= K; k += 2)
        m[0] = larger<T>(b.z[k], m[0]), m[1] = larger<T>(b.z[k + 1], m[1]);  // the second where one is NaN
    if (k < K) m[0] = larger<T>(b.z[k], m[0]);
    return larger<T>(m[0], m[1]);
}

// One class of a block: its exponential, and what it adds.
template <class S, bool KEEP, int KC, bool SOFT>
XENT_INLINE void add_class(Block<S, KC, SOFT>& b, BlockSums<Computed<S>>& out, ptrdiff_t k, bool want_u,
                           BlockSums<Computed<S>>& to) {
    typedef Computed<S> T;
    const V<T> zero = {}, one = splat(T(1));
    const V<T> z = b.z[k], x = z - out.m, e = exp(x);
    const auto top = z == out.m;
    to.rest += top ? zero : e;
    to.at_max += top ? one : zero;
    if constexpr (!Block<S, KC, SOFT>::gathers) {
        const auto here = b.heavy(k);
        out.x = here ? x : out.x;
        out.e = here ? e : out.e;
        if constexpr (SOFT) out.share = here ? b.q[k] : out.share;
    }
    if constexpr (SOFT) {
        const V<T> p = b.q[k];
        to.t += p == zero ? zero : p * x;
    }
    if (want_u) to.u += x;
    if (KEEP) b.z[k] = e;
}

// From the maximum on. Four sums: one alone would gather the rounding of all its additions.
template <class S, bool KEEP, int KC, bool SOFT>
XENT_INLINE BlockSums<Computed<S>> block_sums(Block<S, KC, SOFT>& b, V<Computed<S>> m, ptrdiff_t K, bool want_u) {
    typedef Computed<S> T;
    BlockSums<T> out, to[4];
    out.m = m == m ? m : splat(T(-__builtin_inf()));
    if (Block<S, KC, SOFT>::gathers) out.x = b.at_label() - out.m, out.e = exp(out.x);
    ptrdiff_t k = 0;
    for (; k + 4 <= K; k += 4) {
        add_class<S, KEEP>(b, out, k, want_u, to[0]);
        add_class<S, KEEP>(b, out, k + 1, want_u, to[1]);
        add_class<S, KEEP>(b, out, k + 2, want_u, to[2]);
        add_class<S, KEEP>(b, out, k + 3, want_u, to[3]);
    }
    if (k < K) add_class<S, KEEP>(b, out, k, want_u, to[0]);
    if (k + 1 < K) add_class<S, KEEP>(b, out, k + 1, want_u, to[1]);
    if (k + 2 < K) add_class<S, KEEP>(b, out, k + 2, want_u, to[2]);
    out.rest = (to[0].rest + to[1].rest) + (to[2].rest + to[3].rest);
    out.at_max = (to[0].at_max + to[1].at_max) + (to[2].at_max + to[3].at_max);
    out.t = (to[0].t + to[1].t) + (to[2].t + to[3].t);
    out.u = (to[0].u + to[1].u) + (to[2].u + to[3].u);
    if (!SOFT) out.t = out.x, out.share = splat(T(1));
    return out;
}

// s, NaN where the maximum is none.
template <class T> XENT_INLINE V<T> block_log_sum(const BlockSums<T>& sums) {
    return log1p_positive(sums.rest + (sums.at_max - splat(T(1)))) + (sums.m - sums.m);
}

// The slopes of each lane, and the sum of those in s and t, which is taken in float64: it is 0 for the cross-entropy.
template <class T> struct BlockSlopes {
    V<T> s, t, u, both;

    // The same for all rows, times the block's weights if there are any.
    inline __attribute__((always_inline)) BlockSlopes(RowSlopes plain, const double* weight) {
        if (!weight) {
            s = splat(T(plain.s)), t = splat(T(plain.t)), u = splat(T(plain.u)), both = splat(T(plain.s + plain.t));
            return;
        }
        const Wide<T> w = load_wide<T>(weight);
        s = rounded(w * plain.s), t = rounded(w * plain.t), u = rounded(w * plain.u);
        both = rounded(w * (plain.s + plain.t));
    }

    // Those of the rows from i.
    inline __attribute__((always_inline)) BlockSlopes(const Slopes& all, ptrdiff_t i, int rows) {
        constexpr int W = Vec<T>::width;
        double ls[W] = {}, lt[W] = {}, lu[W] = {};
        for (int l = 0; l < rows; l++) {
            const RowSlopes r = slopes_of(all, i + l);
            ls[l] = r.s, lt[l] = r.t, lu[l] = r.u;
        }
        const Wide<T> a = load_wide<T>(ls), b = load_wide<T>(lt);
        s = rounded(a), t = rounded(b), u = rounded(load_wide<T>(lu)), both = rounded(a + b);
    }
};

// e * scale + lt q + lu over a block, and at the entries that carry the target what p - 1 gives.
template <class S, int KC, bool SOFT>
XENT_INLINE void finish_block(Block<S, KC, SOFT>& b, const BlockSums<Computed<S>>& sums, V<Computed<S>> below,
                              const BlockSlopes<Computed<S>>& l, V<Computed<S>> scale, ptrdiff_t K) {
    typedef Computed<S> T;
    const V<T> zero = {}, one = splat(T(1)), undefined = sums.m - sums.m;
    const V<T> at_heavy = l.s * below + l.both - l.t * (one - sums.share) + l.u + undefined;
    const V<T> added = l.u + undefined;
    for (ptrdiff_t k = 0; k < K; k++) {
        V<T> g = b.z[k] * scale + added;
        if constexpr (SOFT) g = b.q[k] * l.t + g;
        b.z[k] = b.heavy(k) ? at_heavy : g;
    }
    if (!all(b.kept))
        for (ptrdiff_t k = 0; k < K; k++) b.z[k] = b.kept ? b.z[k] : zero;
}

template <class T> XENT_INLINE V<T> slope_times(double slope, V<T> value) {
    return slope != 0 ? splat(T(slope)) * value : V<T>{};
}

// Blocks taken together, one step after the other: a block alone would wait for its maximum, then for its
// exponentials, then for the logarithm, with nothing else to do. From some classes on it has enough to do, and two
// would leave the first-level cache.
constexpr ptrdiff_t PAIRED = 40;

// The losses of N blocks, written where they are wanted, their weighted sums added to `total`; gradients to `out`. The
// last block has `rows` rows.
template <class S, bool GRAD, int KC, bool SOFT, int N>
XENT_INLINE void fused_blocks(const Source<S>* from, RowSlopes plain, double* loss, int rows, S* out, ptrdiff_t K,
                              Wide<Computed<S>>& total) {
    typedef Computed<S> T;
    constexpr int W = Vec<T>::width;
    const V<T> zero = {}, one = splat(T(1));
    Block<S, KC, SOFT> b[N];
    V<T> m[N];
    BlockSums<T> sums[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) b[n].read(from[n], K);
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) m[n] = KC == 2 ? zero : block_max(b[n], K);
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) sums[n] = block_sums<S, GRAD>(b[n], m[n], K, plain.u != 0);
#pragma GCC unroll 4
    for (int n = 0; n < N; n++) {
        const V<T> s = block_log_sum<T>(sums[n]);
        V<T> l = slope_times<T>(plain.s, s) + slope_times<T>(plain.t, sums[n].t) +
                 slope_times<T>(plain.u, sums[n].u) + (s - s);
        l = b[n].kept ? l : zero;
        if (loss) store_some(loss + n * W, widened(l), n + 1 < N ? W : rows);
        total = total + (from[n].weight ? widened(l) * load_wide<T>(from[n].weight) : widened(l));
    }
    if (GRAD)
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) {
            const BlockSlopes<T> ls(plain, from[n].weight);
            const V<T> sum = sums[n].rest + sums[n].at_max, inverse = one / sum;
            // p - 1, as p_minus_1 of rows.h
            const V<T> below =
                (sums[n].x == zero ? -(sums[n].rest + (sums[n].at_max - one)) : sums[n].e - sum) * inverse;
            finish_block(b[n], sums[n], below, ls, ls.s * inverse, K);
            transposed_back(b[n].z, out + n * W * K, K);
        }
}

constexpr ptrdiff_t BURST = 2048;  // bytes of a gradient written past the caches at once

template <class S, bool GRAD, int KC, bool SOFT, int N>
double narrow_fused(const S* a, Target<Computed<S>> q, Slopes slopes, double* loss, S* da, bool past, void* room,
                    ptrdiff_t classes, ptrdiff_t begin, ptrdiff_t end) {
    typedef Computed<S> T;
    constexpr ptrdiff_t W = Vec<T>::width, MOST = N == 1 ? NARROW : PAIRED;
    static_assert(N * W * (KC ? KC : MOST) * sizeof(S) + BURST + 64 <= xent::BUFFER_BYTES, "no room for the blocks");
    const ptrdiff_t K = KC ? KC : classes;
    const RowSlopes plain = {slopes.s[0], slopes.t[0], slopes.u[0]};
    Sink<S> sink(GRAD ? da + begin * K : nullptr, past, room, BURST);
    Wide<T> total = {};
    ptrdiff_t i = begin;
    for (; i + N * W <= end; i += N * W) {
        Source<S> from[N];
        for (int n = 0; n < N; n++) from[n] = source(a, q, slopes.weight, K, i + n * W, N * W);
        fused_blocks<S, GRAD, KC, SOFT, N>(from, plain, loss ? loss + i : nullptr, W, GRAD ? sink.room() : nullptr, K,
                                           total);
        if (GRAD) sink.wrote(N * W * K);
    }
    for (; i < end; i += W) {
        const ptrdiff_t n = end - i < W ? end - i : W;
        Padded<S> padded;
        S out[GRAD ? W * NARROW : 1];
        const Source<S> from = padded.fill(source(a, q, slopes.weight, K, i), int(n), K);
        fused_blocks<S, GRAD, KC, SOFT, 1>(&from, plain, loss ? loss + i : nullptr, int(n), out, K, total);
        if (GRAD) {
            std::memcpy((void*)sink.room(), out, n * K * sizeof(S));
            sink.wrote(n * K);
        }
    }
    if (GRAD) sink.finish();
    return sum_lanes(total);
}

// The statistics of a block of rows from i.
template <class S, int KC, bool SOFT>
XENT_INLINE void stats_block(const Source<S>& from, Stats out, ptrdiff_t i, int rows, ptrdiff_t K) {
    typedef Computed<S> T;
    const V<T> zero = {};
    Block<S, KC, SOFT> b;
    b.read(from, K);
    const BlockSums<T> sums = block_sums<S, false>(b, block_max(b, K), K, out.u != nullptr);
    store_some(out.m + i, widened(b.kept ? sums.m : zero), rows);
    store_some(out.s + i, widened(b.kept ? block_log_sum<T>(sums) : zero), rows);
    store_some(out.t + i, widened(b.kept ? sums.t : zero), rows);
    if (out.u) store_some(out.u + i, widened(b.kept ? sums.u : zero), rows);
}

template <class S, int KC, bool SOFT>
void narrow_stats(const S* a, Target<Computed<S>> q, Stats out, ptrdiff_t classes, ptrdiff_t begin, ptrdiff_t end) {
    constexpr int W = Vec<Computed<S>>::width;
    const ptrdiff_t K = KC ? KC : classes;
    ptrdiff_t i = begin;
    for (; i + W <= end; i += W) stats_block<S, KC, SOFT>(source(a, q, nullptr, K, i), out, i, W, K);
    if (i == end) return;
    Padded<S> padded;
    stats_block<S, KC, SOFT>(padded.fill(source(a, q, nullptr, K, i), int(end - i), K), out, i, int(end - i), K);
}

// The gradient of a block of rows from i, given their statistics.
template <class S, int KC, bool SOFT>
XENT_INLINE void grad_block(const Source<S>& from, Stats in, const Slopes& slopes, S* da, ptrdiff_t i, int rows,
                            ptrdiff_t K) {
    typedef Computed<S> T;
    constexpr int W = Vec<T>::width;
    const V<T> zero = {};
    double m[W] = {}, s[W] = {};
    std::memcpy(m, in.m + i, rows * sizeof(double));
    std::memcpy(s, in.s + i, rows * sizeof(double));
    Block<S, KC, SOFT> b;
    b.read(from, K);
    BlockSums<T> sums;
    sums.m = b.kept ? rounded(load_wide<T>(m)) : zero;
    const V<T> scale = exp(b.kept ? -rounded(load_wide<T>(s)) : zero);
    V<T> others = zero;  // p - 1 is minus their sum
    for (ptrdiff_t k = 0; k < K; k++) {
        const auto here = b.heavy(k);
        b.z[k] = exp(b.z[k] - sums.m);
        others += here ? zero : b.z[k];
        if constexpr (SOFT) sums.share = here ? b.q[k] : sums.share;
    }
    if (!SOFT) sums.share = splat(T(1));
    const BlockSlopes<T> ls(slopes, i, rows);
    finish_block(b, sums, -others * scale, ls, ls.s * scale, K);
    S out[W * NARROW];
    transposed_back(b.z, out, K);
    std::memcpy((void*)(da + i * K), out, rows * K * sizeof(S));
}

template <class S, int KC, bool SOFT>
void narrow_grad(const S* a, Target<Computed<S>> q, Stats in, Slopes slopes, S* da, ptrdiff_t classes, ptrdiff_t begin,
                 ptrdiff_t end) {
    constexpr int W = Vec<Computed<S>>::width;
    const ptrdiff_t K = KC ? KC : classes;
    ptrdiff_t i = begin;
    for (; i + W <= end; i += W)
        grad_block<S, KC, SOFT>(source(a, q, slopes.weight, K, i), in, slopes, da, i, W, K);
    if (i == end) return;
    Padded<S> padded;
    grad_block<S, KC, SOFT>(padded.fill(source(a, q, slopes.weight, K, i), int(end - i), K), in, slopes, da, i,
                            int(end - i), K);
}

}  // namespace XENT_NAMESPACE
