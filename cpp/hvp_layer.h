// The directional derivative of a linear layer's gradients, a tile of rows at a time.
#pragma once

#include <memory>

#include "kernels.h"
#include "linear.h"

namespace xent {

inline Curvatures from_row(Curvatures bend, ptrdiff_t row) {
    if (!bend.ss) return bend;
    return {bend.ss + row, bend.st + row, bend.tt + row};
}

// A layer with the directions of x (N, D), w (K, D), also packed, and bias (K), each of which may be null.
template <class T> struct Direction {
    const T *x, *w, *packed, *bias;
};

// dx (N, D), in the type that x is stored in, is written, dw (K, D) and db (K) are added to, each unless null. With
// `moved` given (and `residual`, where x has a direction), they are left there for add_hvp_dw, (end - begin, K) each, and
// dw is not touched.
template <class T> struct HvpGrads {
    T *dx, *dw, *moved, *residual;
    double* db;
    Other<T>* other_dx = nullptr;
};

template <class T> bool finite(const T* x, ptrdiff_t n) {
    T sum = 0;
    for (ptrdiff_t d = 0; d < n; d++) sum += x[d] * 0;
    return sum == 0;
}

// dw[first:last] += moved' x + residual' vx over the rows [begin, end), of which x and vx are those from `begin` on. A
// row left out that is not finite is stepped over: 0 times NaN is not 0.
template <class T>
void add_hvp_dw(const Kernels<T>& kernels, const Linear<T>& p, const double* weight, const T* x, const T* vx,
                const T* moved, const T* residual, T* dw, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t first,
                ptrdiff_t last) {
    auto add = [&](const T* r, const T* x, ptrdiff_t from, ptrdiff_t to) {
        kernels.matmul({last - first, p.D, to - from, r + (from - begin) * p.K + first, 1, p.K,
                        x + (from - begin) * p.D, p.D, kernels.panel, false, dw + first * p.D, p.D, true, true});
    };
    ptrdiff_t from = begin;
    for (ptrdiff_t i = begin; i <= end; i++) {
        if (i < end) {
            const bool out = (p.target.label && p.target.label[i] < 0) || (weight && weight[i] == 0);
            const ptrdiff_t at = (i - begin) * p.D;
            if (!out || (finite(x + at, p.D) && (!vx || finite(vx + at, p.D)))) continue;
        }
        if (from < i) {
            add(moved, x, from, i);
            if (vx) add(residual, vx, from, i);
        }
        from = i + 1;
    }
}

// The direction of the logits of the rows from i, the first of x: x vw' + vx w' + vb.
template <class T>
void move_logits(const Kernels<T>& kernels, const Linear<T>& p, const Direction<T>& v, const T* x, T* out, T* more,
                 ptrdiff_t i, ptrdiff_t rows) {
    if (v.w) kernels.logits(x, v.w, v.packed, v.bias, out, p.D, p.K, rows, {});
    else
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t k = 0; k < p.K; k++) out[r * p.K + k] = v.bias ? v.bias[k] : T(0);
    if (!v.x) return;
    kernels.logits(v.x + i * p.D, p.w, p.packed, nullptr, more, p.D, p.K, rows, {});
    for (ptrdiff_t j = 0; j < rows * p.K; j++) out[j] += more[j];
}

template <class T>
void linear_hvp(const Kernels<T>& kernels, const Linear<T>& p, Rows of, const Direction<T>& v, Slopes slopes,
                Curvatures bend, const HvpGrads<T>& g) {
    const ptrdiff_t most = of.tile * p.K;
    const ptrdiff_t size = of.tile * p.D;
    const std::unique_ptr<T[]> own(new T[2 * most]), room(p.other ? new T[size] : nullptr),
        dx_room(g.other_dx ? new T[size] : nullptr);
    const bool keep = ((g.dx || g.other_dx) && v.w) || ((g.dw || g.moved) && v.x);
    for (ptrdiff_t i = of.begin; i < of.end; i += of.tile) {
        const ptrdiff_t stop = i + of.tile < of.end ? i + of.tile : of.end, rows = stop - i, at = i * p.D;
        T* moved = g.moved ? g.moved + (i - of.begin) * p.K : own.get();
        T* z = g.residual ? g.residual + (i - of.begin) * p.K : own.get() + most;
        if (p.other) kernels.from_other(p.other + at, room.get(), rows * p.D);
        const T* x = p.other ? room.get() : p.x + at;
        move_logits(kernels, p, v, x, moved, z, i, rows);
        const ptrdiff_t next = stop + of.tile < of.end ? stop + of.tile : of.end;
        kernels.logits(x, p.w, p.packed, p.bias, z, p.D, p.K, rows, rows_of_x(p, stop, next));
        kernels.row_hvp(z, moved, from_row(p.target, i, p.K), from_row(slopes, i), from_row(bend, i), keep, p.K, 0,
                        rows);
        if (g.db) kernels.add_columns(moved, p.K, rows, g.db);
        if (g.dx || g.other_dx) {
            T* dx = g.other_dx ? dx_room.get() : g.dx + at;
            kernels.matmul({rows, p.D, p.K, moved, p.K, 1, p.w, p.D, kernels.panel, false, dx, p.D, false});
            if (v.w) kernels.matmul({rows, p.D, p.K, z, p.K, 1, v.w, p.D, kernels.panel, false, dx, p.D, true});
            if (g.other_dx) kernels.to_other(dx, g.other_dx + at, rows * p.D);
        }
        if (g.dw && !g.moved)
            add_hvp_dw(kernels, p, slopes.weight, x, v.x ? v.x + at : nullptr, moved, z, g.dw, i, stop, 0, p.K);
    }
}

}  // namespace xent
