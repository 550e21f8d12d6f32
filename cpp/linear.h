// The two operations on a linear layer: a tile of rows at a time, the logits of a tile never leave the cache.
// Nothing here depends on the instruction set; the work is in the tables of kernels.h.
#pragma once

#include <memory>

#include "kernels.h"

namespace xent {

// A linear layer, its target, and a range of its rows. `packed` holds w as kernels.h's pack leaves it.
template <class T> struct Linear {
    const T *x, *packed, *w, *bias;
    Target<T> target;
    ptrdiff_t D, K, tile_rows, begin, end;
};

// Where the gradients go: each may be null. dw (K, D) and db (K) are added to; dx (N, D) is written.
// With residual (end - begin, K) given, dlogits are left there and dw is not touched: see add_dw.
template <class T> struct LinearGrads {
    T *dx, *dw, *residual;
    double* db;
};

template <class T> Target<T> from_row(Target<T> q, ptrdiff_t row, ptrdiff_t K) {
    return {q.label ? q.label + row : nullptr, q.probs ? q.probs + row * K : nullptr};
}

inline Stats from_row(Stats in, ptrdiff_t row) {
    return {in.m + row, in.s + row, in.t + row, in.u ? in.u + row : in.u};
}

inline Slopes from_row(Slopes in, ptrdiff_t row) {
    const ptrdiff_t k = row * in.stride;
    return {in.s + k, in.t + k, in.u + k, in.stride, in.weight ? in.weight + row : nullptr};
}

template <class T> void linear_stats(const Kernels<T>& kernels, const Linear<T>& p, Stats out) {
    std::unique_ptr<T[]> z(new T[p.tile_rows * p.K]);
    for (ptrdiff_t i = p.begin; i < p.end; i += p.tile_rows) {
        const ptrdiff_t stop = i + p.tile_rows < p.end ? i + p.tile_rows : p.end;
        kernels.logits(p.x, p.packed, p.bias, z.get(), p.D, p.K, i, stop);
        kernels.row_stats(z.get(), from_row(p.target, i, p.K), from_row(out, i), p.K, 0, stop - i);
    }
}

// A row with NaN or infinity that is left out must not reach dw through 0 * NaN: it enters the product as zeros.
template <class T> bool finite_rows(const Linear<T>& p, const T* residual, ptrdiff_t begin, ptrdiff_t end) {
    for (ptrdiff_t i = begin; i < end; i++) {
        bool used = false;
        for (ptrdiff_t k = 0; k < p.K && !used; k++) used = residual[(i - begin) * p.K + k] != 0;
        if (used) continue;
        T sum = 0;
        for (ptrdiff_t d = 0; d < p.D; d++) sum += p.x[i * p.D + d] * 0;
        if (sum != 0) return false;
    }
    return true;
}

// dw[first:last] += residual[:, first:last]' x over the given rows; unused rows that are not finite are stepped over.
template <class T>
void add_dw(const Kernels<T>& kernels, const Linear<T>& p, const T* residual, T* dw, ptrdiff_t begin, ptrdiff_t end,
            ptrdiff_t first, ptrdiff_t last) {
    auto add = [&](ptrdiff_t from, ptrdiff_t to) {
        kernels.matmul(last - first, p.D, to - from, residual + (from - begin) * p.K + first, 1, p.K, p.x + from * p.D,
                       p.D, dw + first * p.D, p.D, true);
    };
    if (finite_rows(p, residual, begin, end)) return add(begin, end);
    for (ptrdiff_t i = begin; i < end; i++)
        if (finite_rows(p, residual + (i - begin) * p.K, i, i + 1)) add(i, i + 1);
}

// One tile, its dlogits in z.
template <class T>
void spread(const Kernels<T>& kernels, const Linear<T>& p, const LinearGrads<T>& g, const T* z, ptrdiff_t i,
            ptrdiff_t stop) {
    if (g.db)
        for (ptrdiff_t r = 0; r < stop - i; r++)
            for (ptrdiff_t k = 0; k < p.K; k++) g.db[k] += z[r * p.K + k];
    if (g.dx) kernels.matmul(stop - i, p.D, p.K, z, p.K, 1, p.w, p.D, g.dx + i * p.D, p.D, false);
    if (g.dw && !g.residual) add_dw(kernels, p, z, g.dw, i, stop, 0, p.K);
}

template <class T>
void linear_grad(const Kernels<T>& kernels, const Linear<T>& p, Stats in, Slopes slopes, const LinearGrads<T>& g) {
    std::unique_ptr<T[]> own(g.residual ? nullptr : new T[p.tile_rows * p.K]);
    for (ptrdiff_t i = p.begin; i < p.end; i += p.tile_rows) {
        const ptrdiff_t stop = i + p.tile_rows < p.end ? i + p.tile_rows : p.end;
        T* z = g.residual ? g.residual + (i - p.begin) * p.K : own.get();
        kernels.logits(p.x, p.packed, p.bias, z, p.D, p.K, i, stop);
        kernels.row_grad(z, from_row(p.target, i, p.K), from_row(in, i), from_row(slopes, i), z, p.K, 0, stop - i);
        spread(kernels, p, g, z, i, stop);
    }
}

template <class T>
void linear_fused(const Kernels<T>& kernels, const Linear<T>& p, Slopes slopes, double* loss, const LinearGrads<T>& g) {
    std::unique_ptr<T[]> own(g.residual ? nullptr : new T[p.tile_rows * p.K]);
    for (ptrdiff_t i = p.begin; i < p.end; i += p.tile_rows) {
        const ptrdiff_t stop = i + p.tile_rows < p.end ? i + p.tile_rows : p.end;
        T* z = g.residual ? g.residual + (i - p.begin) * p.K : own.get();
        kernels.logits(p.x, p.packed, p.bias, z, p.D, p.K, i, stop);
        kernels.row_fused(z, from_row(p.target, i, p.K), from_row(slopes, i), loss + i, z, false, nullptr, p.K, 0,
                          stop - i);
        spread(kernels, p, g, z, i, stop);
    }
}

}  // namespace xent
