// The operations on logits, row by row, and all in one pass: for rows of more classes than a few vectors.
#pragma once

#include <cmath>

#include "half.h"

namespace XENT_NAMESPACE {

using xent::Slopes;
using xent::Stats;
using xent::Target;

// Elements summed in T before the sum moves to float64: bounds the rounding of long float32 rows.
constexpr ptrdiff_t BLOCK = 4096;
// Rows whose logarithms are taken together.
constexpr int GROUP = 16;
// Numbers of a row whose gradient is written at once.
constexpr ptrdiff_t PIECE = 1024;

template <class S> XENT_INLINE Computed<S> row_max(const S* a, ptrdiff_t K) {
    typedef Computed<S> T;
    constexpr int W = Vec<T>::width;
    const T lowest = -__builtin_inf();
    V<T> m0 = splat(lowest), m1 = m0, m2 = m0, m3 = m0;
    ptrdiff_t j = 0;
    for (; j + 4 * W <= K; j += 4 * W) {
        m0 = larger<T>(read(a + j), m0);
        m1 = larger<T>(read(a + j + W), m1);
        m2 = larger<T>(read(a + j + 2 * W), m2);
        m3 = larger<T>(read(a + j + 3 * W), m3);
    }
    for (; j + W <= K; j += W) m0 = larger<T>(read(a + j), m0);
    if (j < K) m1 = larger<T>(read_some(a + j, K - j, lowest), m1);
    return largest_lane<T>(larger<T>(larger<T>(m0, m1), larger<T>(m2, m3)));
}

// Sums over one row of e = exp(a - m), leaving out the entries at the maximum itself, which are counted: then
// log1p(rest + count - 1) keeps the digits of a confident row. Optionally stores e, sums a - m and q (a - m).
struct RowSums {
    double rest = 0, at_max = 0, t = 0, u = 0;
};

// Sums of a row's vectors. Two vectors are taken at a time, all loads first and all stores last (e may be a): one chain
// of exponentials leaves half of the machine idle.
template <class S, bool STORE, bool SOFT> struct RowLanes {
    typedef Computed<S> T;
    static constexpr int W = Vec<T>::width;
    const V<T> m, zero = {};
    V<T> rest[2] = {}, t[2] = {}, u[2] = {};
    ptrdiff_t others = 0;  // entries that are not at the maximum, and lanes beyond the row
    const bool want_u;

    RowLanes(T max, bool ask_u) : m(splat(max)), want_u(ask_u) {}

    template <int N> inline __attribute__((always_inline)) void whole(const S* a, const T* q, T* e) {
        V<T> z[N], x[N], v[N];
#pragma GCC unroll 2
        for (int k = 0; k < N; k++) z[k] = read(a + k * W), x[k] = z[k] - m, v[k] = exp(x[k]);
#pragma GCC unroll 2
        for (int k = 0; k < N; k++) {
            others += add_where_not<T>(rest[k], v[k], z[k], m);
            if (SOFT) add_t(k, load(q + k * W), x[k]);
            if (want_u) u[k] += x[k];
        }
        if (STORE)
#pragma GCC unroll 2
            for (int k = 0; k < N; k++) store(e + k * W, v[k]);
    }

    // The last n lanes: -inf stands beyond the row for the sums of exp, and what adds 0 to t and u.
    inline __attribute__((always_inline)) void some(const S* a, const T* q, T* e, ptrdiff_t n) {
        const V<T> z = read_some(a, n, T(-__builtin_inf())), x = z - m, v = exp(x);
        others += add_where_not<T>(rest[0], v, z, m);
        if (SOFT) add_t(0, load_some(q, n, T(0)), x);
        if (want_u) u[0] += read_some(a, n, m[0]) - m;
        if (STORE) store_some(e, v, n);
    }

    inline __attribute__((always_inline)) void add_t(int k, V<T> p, V<T> x) {
        t[k] += p == zero ? zero : p * x;  // 0 log 0 = 0
    }
};

// This pass is busy with exponentials: meanwhile `next`, what is read after this row, is fetched, and what waits in the
// sink is drained.
template <class S, bool STORE, bool SOFT>
XENT_INLINE RowSums row_sums(const S* a, const Computed<S>* q, Computed<S> m, Computed<S>* e, ptrdiff_t K, bool want_u,
                             const S* next, Sink<S>* sink = nullptr) {
    constexpr int W = Vec<Computed<S>>::width;
    RowSums out;
    for (ptrdiff_t start = 0; start < K; start += BLOCK) {
        const ptrdiff_t stop = start + BLOCK < K ? start + BLOCK : K;
        RowLanes<S, STORE, SOFT> lanes(m, want_u);
        ptrdiff_t j = start;
        auto probs = [&] { return SOFT ? q + j : q; };
        auto room = [&] { return STORE ? e + j : e; };
        for (; j + 2 * W <= stop; j += 2 * W) {
            __builtin_prefetch(next + j);
            __builtin_prefetch(next + j + W);
            lanes.template whole<2>(a + j, probs(), room());
            if (STORE) sink->drain();
        }
        if (j + W <= stop) lanes.template whole<1>(a + j, probs(), room()), j += W;
        if (j < stop) lanes.some(a + j, probs(), room(), stop - j);
        out.rest += sum_lanes(lanes.rest[0] + lanes.rest[1]);
        out.at_max += double((stop - start + W - 1) / W * W - lanes.others);
        if (SOFT) out.t += sum_lanes(lanes.t[0] + lanes.t[1]);
        if (want_u) out.u += sum_lanes(lanes.u[0] + lanes.u[1]);
    }
    return out;
}

// Infinite or undefined maximum: no number of the row has a meaning.
XENT_INLINE bool undefined(double m) { return m - m != 0; }

// What s is the log1p of.
XENT_INLINE double tail_of(const RowSums& sums, double m) {
    return undefined(m) ? __builtin_nan("") : sums.rest + (sums.at_max - 1);
}

XENT_INLINE void log1p_all(double* x, int n) {
    for (int i = 0; i < n; i += Vec<double>::width) store(x + i, log1p_positive(load(x + i)));
}

template <class S>
void wide_stats(const S* a, Target<Computed<S>> q, Stats out, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    typedef Computed<S> T;
    double s[GROUP] = {};
    for (ptrdiff_t i0 = begin; i0 < end; i0 += GROUP) {
        const ptrdiff_t stop = i0 + GROUP < end ? i0 + GROUP : end;
        for (ptrdiff_t i = i0; i < stop; i++) {
            s[i - i0] = 0;
            if (q.label && q.label[i] < 0) {
                out.m[i] = out.t[i] = 0;
                if (out.u) out.u[i] = 0;
                continue;
            }
            const S *row = a + i * K, *next = i + 1 < end ? row + K : row;
            const T m = row_max(row, K);
            const RowSums sums =
                q.probs ? row_sums<S, false, true>(row, q.probs + i * K, m, nullptr, K, out.u != nullptr, next)
                        : row_sums<S, false, false>(row, nullptr, m, nullptr, K, out.u != nullptr, next);
            out.m[i] = m;
            s[i - i0] = tail_of(sums, m);
            out.t[i] = q.probs ? sums.t : double(one(row + q.label[i])) - double(m);
            if (out.u) out.u[i] = sums.u;
        }
        log1p_all(s, GROUP);
        std::memcpy(out.s + i0, s, (stop - i0) * sizeof(double));
    }
}

// One vector of a gradient: e * scale + lt q + lu.
template <class T> struct Finish {
    const V<T> vs, vt, vu;
    const T* q;

    Finish(T scale, T lt, T lu, const T* probs) : vs(splat(scale)), vt(splat(lt)), vu(splat(lu)), q(probs) {}

    inline __attribute__((always_inline)) V<T> whole(V<T> e, ptrdiff_t j) const {
        const V<T> g = e * vs + vu;
        return q ? load(q + j) * vt + g : g;
    }
    inline __attribute__((always_inline)) V<T> some(V<T> e, ptrdiff_t j, ptrdiff_t n) const {
        const V<T> g = e * vs + vu;
        return q ? load_some(q + j, n, T(0)) * vt + g : g;
    }
};

// n numbers of a gradient, the j-th of their row first.
template <class S>
XENT_INLINE void finish_piece(const Computed<S>* e, const Finish<Computed<S>>& finish, S* da, ptrdiff_t j, ptrdiff_t n) {
    typedef Computed<S> T;
    constexpr int W = Vec<T>::width;
    // to a boundary first: stores across lines cost more than loads across lines
    ptrdiff_t k = ptrdiff_t((0 - (uintptr_t)da) & (W * sizeof(S) - 1)) / ptrdiff_t(sizeof(S));
    k = k < n ? k : n;
    if (k) write_some(da, finish.some(load_some(e + j, k, T(0)), j, k), k);
    for (; k + W <= n; k += W) write(da + k, finish.whole(load(e + j + k), j + k));
    if (k < n) write_some(da + k, finish.some(load_some(e + j + k, n - k, T(0)), j + k, n - k), n - k);
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

template <class S> XENT_INLINE Heavy find_heavy(const S* row, Target<Computed<S>> q, ptrdiff_t i, double m, ptrdiff_t K) {
    typedef Computed<S> T;
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
    if (h.at >= 0) h.x = double(one(row + h.at)) - m;
    return h;
}

// The gradient there, from p - 1.
XENT_INLINE double heavy_grad(RowSlopes l, double p_minus_1, double q) {
    return l.s * p_minus_1 + (l.s + l.t) - l.t * (1 - q) + l.u;
}

template <class S> XENT_INLINE void mend(S* da, const Heavy& h, RowSlopes l, double p_minus_1, double m, ptrdiff_t K) {
    typedef Computed<S> T;
    if (undefined(m))
        for (ptrdiff_t j = 0; j < K; j++) put(da + j, T(__builtin_nan("")));
    else if (h.at >= 0) put(da + h.at, T(heavy_grad(l, p_minus_1, h.q)));
}

// p - 1 of an entry x below the maximum of its row, from the sums of the row: the maximum's own 1 never enters.
XENT_INLINE double p_minus_1(double x, double e, double rest, double at_max) {
    return (x == 0 ? -(rest + (at_max - 1)) : e - (rest + at_max)) / (rest + at_max);
}

template <class S> XENT_INLINE void zero_row(S* da, ptrdiff_t K) { std::memset((void*)da, 0, K * sizeof(S)); }

// A weight of 0 leaves a row out as a label of -1 does: nothing in it, NaN included, may reach a gradient.
template <class T> XENT_INLINE bool left_out(Target<T> q, const Slopes& slopes, ptrdiff_t i) {
    return (q.label && q.label[i] < 0) || (slopes.weight && slopes.weight[i] == 0);
}

// Slopes may be 0 (smoothing of 1, say) where the statistic is infinite.
XENT_INLINE double times(double slope, double value) { return slope != 0 ? slope * value : 0.0; }

// What is left of each row of a group once its gradient is written.
struct Losses {
    double s[GROUP], t[GROUP], u[GROUP];
    bool kept[GROUP];

    // Writes the losses where they are wanted, and gives their weighted sum.
    double finish(RowSlopes plain, const double* weight, double* loss, int n) {
        double total = 0;
        for (int r = n; r < GROUP; r++) s[r] = 0;
        log1p_all(s, GROUP);
        for (int r = 0; r < n; r++) {
            // s - s: a row without a meaning has no loss, whatever its slopes
            const double l =
                kept[r] ? plain.s * s[r] + times(plain.t, t[r]) + times(plain.u, u[r]) + (s[r] - s[r]) : 0;
            if (loss) loss[r] = l;
            if (kept[r]) total += weight ? weight[r] * l : l;
        }
        return total;
    }
};

// A row's gradient from e. Where it has no meaning all of it is NaN.
template <class S>
XENT_INLINE void finish_row(const Computed<S>* e, const Computed<S>* probs, RowSlopes l, const RowSums& sums,
                            const Heavy& heavy, double m, Sink<S>& sink, ptrdiff_t K) {
    typedef Computed<S> T;
    const double total = sums.rest + sums.at_max, undefined = m - m;
    const double below = heavy.at < 0 ? 0 : p_minus_1(heavy.x, e[heavy.at], sums.rest, sums.at_max);
    const T at_heavy = T(heavy_grad(l, below, heavy.q) + undefined);
    const Finish<T> finish(T(l.s / total), T(l.t), T(l.u + undefined), probs);
    sink.flush();
    for (ptrdiff_t j = 0; j < K; j += PIECE) {
        const ptrdiff_t n = K - j < PIECE ? K - j : PIECE;
        S* out = sink.room();
        finish_piece(e, finish, out, j, n);
        if (heavy.at >= j && heavy.at < j + n) put(out + (heavy.at - j), at_heavy);
        sink.wrote(n);
    }
}

template <class S> XENT_INLINE void zero_row(Sink<S>& sink, ptrdiff_t K) {
    for (ptrdiff_t j = 0; j < K; j += PIECE) {
        const ptrdiff_t n = K - j < PIECE ? K - j : PIECE;
        zero_row(sink.room(), n);
        sink.wrote(n);
    }
}

// GRAD false: losses alone. `past` and `room`: see kernels.h.
template <class S, bool GRAD>
double wide_fused(const S* a, Target<Computed<S>> q, Slopes slopes, double* loss, S* da, bool past, void* room,
                  ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    typedef Computed<S> T;
    const RowSlopes plain = {slopes.s[0], slopes.t[0], slopes.u[0]};
    const bool in_place = (const void*)a == (const void*)da && sizeof(S) == sizeof(T), want_u = plain.u != 0;
    Sink<S> sink(GRAD ? da + begin * K : nullptr, past, room, xent::waiting_for(K));
    T* const row_of_e = (T*)((char*)room + xent::BUFFER_BYTES + xent::waiting_for(K));
    Losses losses;
    double total = 0;
    for (ptrdiff_t i0 = begin; i0 < end; i0 += GROUP) {
        const int n = int(end - i0 < GROUP ? end - i0 : GROUP);
        for (int r = 0; r < n; r++) {
            const ptrdiff_t i = i0 + r;
            losses.kept[r] = !left_out(q, slopes, i);
            losses.s[r] = losses.t[r] = losses.u[r] = 0;
            if (!losses.kept[r]) {
                if (GRAD) zero_row(sink, K);
                continue;
            }
            const S *row = a + i * K, *next = i + 1 < end ? row + K : row;
            const T* probs = q.probs ? q.probs + i * K : nullptr;
            const T m = row_max(row, K);
            // before e, which may be the row itself, is written
            const Heavy heavy = GRAD || !probs ? find_heavy(row, q, i, m, K) : Heavy{};
            T* e = in_place ? (T*)(da + i * K) : row_of_e;
            const RowSums sums = probs ? row_sums<S, GRAD, true>(row, probs, m, e, K, want_u, next, &sink)
                                       : row_sums<S, GRAD, false>(row, nullptr, m, e, K, want_u, next, &sink);
            losses.s[r] = tail_of(sums, m);
            losses.t[r] = probs ? sums.t : heavy.x;
            losses.u[r] = sums.u;
            if (GRAD) finish_row(e, probs, slopes_of(slopes, i), sums, heavy, m, sink, K);
        }
        total += losses.finish(plain, slopes.weight ? slopes.weight + i0 : nullptr, loss ? loss + i0 : nullptr, n);
    }
    if (GRAD) sink.finish();
    return total;
}

template <class S>
void wide_grad(const S* a, Target<Computed<S>> q, Stats in, Slopes slopes, S* da, ptrdiff_t K, ptrdiff_t begin,
               ptrdiff_t end) {
    typedef Computed<S> T;
    constexpr int W = Vec<T>::width;
    for (ptrdiff_t i = begin; i < end; i++) {
        const S* row = a + i * K;
        S* out = da + i * K;
        const RowSlopes l = slopes_of(slopes, i);
        if (left_out(q, slopes, i) || (l.s == 0 && l.t == 0 && l.u == 0)) {
            zero_row(out, K);
            continue;
        }
        const double m = in.m[i], s = in.s[i];
        const Heavy heavy = find_heavy(row, q, i, m, K);
        const V<T> vm = splat(T(m));
        const Finish<T> finish(T(l.s * std::exp(-s)), T(l.t), T(l.u), q.probs ? q.probs + i * K : nullptr);
        ptrdiff_t j = 0;
        for (; j + 2 * W <= K; j += 2 * W) {  // out may be row
            const V<T> first = exp(read(row + j) - vm), second = exp(read(row + j + W) - vm);
            write(out + j, finish.whole(first, j));
            write(out + j + W, finish.whole(second, j + W));
        }
        if (j + W <= K) write(out + j, finish.whole(exp(read(row + j) - vm), j)), j += W;
        if (j < K)
            write_some(out + j, finish.some(exp(read_some(row + j, K - j, T(m)) - vm), j, K - j), K - j);
        mend(out, heavy, l, std::expm1(heavy.x - s), m, K);
    }
}

}  // namespace XENT_NAMESPACE
