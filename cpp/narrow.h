// The operations of rows.h for few classes: a block of rows at a time, transposed so that each vector holds one class
// of many rows. A row of ten classes would leave most of a vector empty, and its sums across lanes would cost more than
// its exponentials.
#pragma once

#include "rows.h"

namespace XENT_NAMESPACE {

constexpr ptrdiff_t NARROW = 24;  // classes up to which this is the faster way, measured

// One block of rows, transposed; rows left out, and lanes beyond the end, hold zeros.
template <class T> struct Block {
    static constexpr int W = Vec<T>::width;
    T z[NARROW][W];  // logits, then exp(z - m), then the gradient
    T q[NARROW][W];
    bool kept[W];
    int rows;

    inline void read(const T* a, const Target<T>& target, const double* weight, ptrdiff_t K, ptrdiff_t i,
                     ptrdiff_t end) {
        rows = int(end - i < W ? end - i : W);
        for (int l = 0; l < W; l++)
            kept[l] = l < rows && !(target.label && target.label[i + l] < 0) && !(weight && weight[i + l] == 0);
        for (int l = 0; l < W; l++)
            for (ptrdiff_t k = 0; k < K; k++) {
                z[k][l] = kept[l] ? a[(i + l) * K + k] : T(0);
                if (target.probs) q[k][l] = kept[l] ? target.probs[(i + l) * K + k] : T(0);
            }
    }

    inline void write(T* da, ptrdiff_t K, ptrdiff_t i) const {
        for (int l = 0; l < rows; l++)
            for (ptrdiff_t k = 0; k < K; k++) da[(i + l) * K + k] = z[k][l];
    }
};

// What row_sums finds, for each lane, and the entry that carries the target.
template <class T> struct BlockSums {
    static constexpr int W = Vec<T>::width;
    double m[W], rest[W], at_max[W], s[W], t[W], u[W];
    int heavy[W];  // -1: none
    double x[W], e[W], share[W];
};

template <class T>
XENT_INLINE void block_sums(Block<T>& b, const Target<T>& target, ptrdiff_t K, ptrdiff_t i, bool want_u, bool keep_e,
                            BlockSums<T>& out) {
    constexpr int W = Vec<T>::width;
    const V<T> zero = {}, one = splat(T(1));
    V<T> m = load(b.z[0]);
    for (ptrdiff_t k = 1; k < K; k++) m = larger<T>(load(b.z[k]), m);
    // a first NaN would stay: start again from the lowest
    m = m == m ? m : splat(T(-__builtin_inf()));
    for (ptrdiff_t k = 0; k < K; k++) m = larger<T>(load(b.z[k]), m);
    for (int l = 0; l < W; l++) {
        out.heavy[l] = -1;
        if (!b.kept[l]) continue;
        if (!target.probs) {
            out.heavy[l] = int(target.label[i + l]);
            out.share[l] = 1;
        } else {
            for (ptrdiff_t k = 0; k < K; k++)
                if (b.q[k][l] > T(0.5)) out.heavy[l] = int(k), out.share[l] = b.q[k][l];
        }
        if (out.heavy[l] >= 0) out.x[l] = double(b.z[out.heavy[l]][l]) - double(m[l]);
    }
    V<T> rest = zero, count = zero, t = zero, u = zero;
    for (ptrdiff_t k = 0; k < K; k++) {
        const V<T> z = load(b.z[k]), x = z - m, e = exp(x);
        auto top = z == m;
        rest += top ? zero : e;
        count += top ? one : zero;
        if (target.probs) {
            const V<T> p = load(b.q[k]);
            t += p == zero ? zero : p * x;
        }
        if (want_u) u += x;
        if (keep_e) store(b.z[k], e);
    }
    for (int l = 0; l < W; l++) {
        out.m[l] = m[l];
        out.rest[l] = rest[l];
        out.at_max[l] = count[l];
        out.u[l] = u[l];
        out.s[l] = undefined(out.m[l]) ? __builtin_nan("") : out.rest[l] + (out.at_max[l] - 1);
        out.t[l] = target.probs ? double(t[l]) : out.x[l];
        if (keep_e && out.heavy[l] >= 0) out.e[l] = b.z[out.heavy[l]][l];
    }
    for (int l = 0; l < W; l += Vec<double>::width) store(out.s + l, log1p_positive(load(out.s + l)));
}

template <class T> void narrow_stats(const T* a, Target<T> q, Stats out, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    Block<T> b;
    BlockSums<T> sums;
    for (ptrdiff_t i = begin; i < end; i += Block<T>::W) {
        b.read(a, q, nullptr, K, i, end);
        block_sums(b, q, K, i, out.u != nullptr, false, sums);
        for (int l = 0; l < b.rows; l++) {
            out.m[i + l] = b.kept[l] ? sums.m[l] : 0;
            out.s[i + l] = b.kept[l] ? sums.s[l] : 0;
            out.t[i + l] = b.kept[l] ? sums.t[l] : 0;
            if (out.u) out.u[i + l] = b.kept[l] ? sums.u[l] : 0;
        }
    }
}

// e * scale + lt q + lu over a block, then the entries that carry the target.
template <class T>
XENT_INLINE void finish_block(Block<T>& b, const Target<T>& q, const BlockSums<T>& sums, const double* below,
                              const RowSlopes* l, const double* scale, ptrdiff_t K) {
    constexpr int W = Vec<T>::width;
    T vs[W], vt[W], vu[W];
    for (int i = 0; i < W; i++) vs[i] = T(scale[i]), vt[i] = T(l[i].t), vu[i] = T(l[i].u);
    for (ptrdiff_t k = 0; k < K; k++) {
        V<T> g = load(b.z[k]) * load(vs) + load(vu);
        if (q.probs) g = load(b.q[k]) * load(vt) + g;
        store(b.z[k], g);
    }
    for (int i = 0; i < W; i++) {
        if (b.kept[i] && undefined(sums.m[i]))
            for (ptrdiff_t k = 0; k < K; k++) b.z[k][i] = T(__builtin_nan(""));
        else if (sums.heavy[i] >= 0) b.z[sums.heavy[i]][i] = T(heavy_grad(l[i], below[i], sums.share[i]));
    }
}

template <class T>
void narrow_fused(const T* a, Target<T> q, Slopes slopes, double* loss, T* da, ptrdiff_t K, ptrdiff_t begin,
                  ptrdiff_t end) {
    constexpr int W = Vec<T>::width;
    const RowSlopes plain = {slopes.s[0], slopes.t[0], slopes.u[0]};
    Block<T> b;
    BlockSums<T> sums;
    RowSlopes l[W];
    double scale[W], below[W];
    for (ptrdiff_t i = begin; i < end; i += W) {
        b.read(a, q, slopes.weight, K, i, end);
        block_sums(b, q, K, i, plain.u != 0, true, sums);
        for (int j = 0; j < W; j++) {
            l[j] = b.kept[j] ? slopes_of(slopes, i + j) : RowSlopes{0, 0, 0};
            scale[j] = l[j].s / (sums.rest[j] + sums.at_max[j]);
            below[j] = sums.heavy[j] < 0 ? 0 : p_minus_1(sums.x[j], sums.e[j], sums.rest[j], sums.at_max[j]);
        }
        for (int j = 0; j < b.rows; j++)
            loss[i + j] = b.kept[j] ? plain.s * sums.s[j] + times(plain.t, sums.t[j]) + times(plain.u, sums.u[j]) : 0;
        finish_block(b, q, sums, below, l, scale, K);
        b.write(da, K, i);
    }
}

template <class T>
void narrow_grad(const T* a, Target<T> q, Stats in, Slopes slopes, T* da, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    constexpr int W = Vec<T>::width;
    Block<T> b;
    BlockSums<T> sums;
    RowSlopes l[W];
    double scale[W], below[W];
    for (ptrdiff_t i = begin; i < end; i += W) {
        b.read(a, q, slopes.weight, K, i, end);
        block_sums(b, q, K, i, false, true, sums);
        for (int j = 0; j < W; j++) {
            l[j] = b.kept[j] ? slopes_of(slopes, i + j) : RowSlopes{0, 0, 0};
            scale[j] = l[j].s * std::exp(b.kept[j] ? -in.s[i + j] : 0.0);
            below[j] = sums.heavy[j] < 0 ? 0 : std::expm1(sums.x[j] - in.s[i + j]);
        }
        finish_block(b, q, sums, below, l, scale, K);
        b.write(da, K, i);
    }
}

template <class T> void row_stats(const T* a, Target<T> q, Stats out, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    (K <= NARROW ? narrow_stats<T> : wide_stats<T>)(a, q, out, K, begin, end);
}

template <class T>
void row_grad(const T* a, Target<T> q, Stats in, Slopes slopes, T* da, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end) {
    (K <= NARROW ? narrow_grad<T> : wide_grad<T>)(a, q, in, slopes, da, K, begin, end);
}

template <class T>
void row_fused(const T* a, Target<T> q, Slopes slopes, double* loss, T* da, ptrdiff_t K, ptrdiff_t begin,
               ptrdiff_t end) {
    (K <= NARROW ? narrow_fused<T> : wide_fused<T>)(a, q, slopes, loss, da, K, begin, end);
}

}  // namespace XENT_NAMESPACE
