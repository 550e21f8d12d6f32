// The operations on a linear layer of sparse rows: a tile of rows at a time, whose nonzeros are still in the cache when
// their products with the residuals are added to dw.
#pragma once

#include <memory>

#include "hvp_layer.h"
#include "kernels.h"
#include "linear.h"

namespace xent {

// `pair`: of two classes, whose loss knows no more than the difference of their logits. w and bias are then the
// differences of the two, one lane a column; and dw is that of the second class, of which the first has the opposite.
template <class T, class I> struct SparseLayer {
    Csr<T, I> x;
    Kept kept;
    Columns<const T> w;
    const T* bias;  // w.lanes numbers, or null
    Target<T> target;
    ptrdiff_t K;
    bool pair;
    ptrdiff_t tile_rows, begin, end;
};

// What is computed from the rows' residuals, each null where not asked for: db (K), added to; dw, added to; the
// residuals themselves with where each row's blocks of columns begin, both counted from the layer's first row.
template <class T> struct SparseGrads {
    double* db;
    Columns<T> dw;
    T* residual;
    Split split;
};

// Where the logits of a tile are, and those of the direction.
template <class T> struct Tiles {
    ptrdiff_t K;  // classes, or 1
    std::unique_ptr<T[]> thin, wide;
    Tiles(ptrdiff_t rows, ptrdiff_t classes, ptrdiff_t lanes, bool pair)
        : K(pair ? 1 : classes), thin(pair ? new T[rows + lanes] : nullptr), wide(new T[rows * classes + lanes]) {}
    T* logits() { return thin ? thin.get() : wide.get(); }
    // The logits of both classes from their difference, and back.
    void spread(ptrdiff_t rows) {
        for (ptrdiff_t r = 0; thin && r < rows; r++) wide[2 * r] = 0, wide[2 * r + 1] = thin[r];
    }
    void second(ptrdiff_t rows) {
        for (ptrdiff_t r = 0; thin && r < rows; r++) thin[r] = wide[2 * r + 1];
    }
};

// `op(z, i, stop)` leaves the residuals of the rows [i, stop) in z (stop - i, K), from their logits. The first row that
// does not lie within the matrix, or -1.
template <class T, class I, class Op>
ptrdiff_t sparse_tiles(const SparseKernels<T, I>& sparse, const SparseLayer<T, I>& p, Tiles<T>& z,
                       const SparseGrads<T>& g, Op op) {
    for (ptrdiff_t i = p.begin; i < p.end; i += p.tile_rows) {
        const ptrdiff_t stop = i + p.tile_rows < p.end ? i + p.tile_rows : p.end, rows = stop - i;
        const ptrdiff_t bad = sparse.gather(p.x, p.kept, p.w, p.bias, z.logits(), z.K, i, stop);
        if (bad >= 0) return bad;
        z.spread(rows);
        op(z.wide.get(), i, stop);
        if (g.db)
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t k = 0; k < p.K; k++) g.db[k] += z.wide[r * p.K + k];
        z.second(rows);
        if (g.dw.data) sparse.scatter(p.x, p.kept, z.logits(), z.K, g.dw, i, stop);
        if (!g.residual) continue;
        const ptrdiff_t at = i - p.begin;
        for (ptrdiff_t j = 0; j < rows * z.K; j++) g.residual[at * z.K + j] = z.logits()[j];
        sparse.split(p.x, p.kept, {g.split.at + at * (g.split.blocks + 1), g.split.blocks, g.split.shift}, i, stop);
    }
    return -1;
}

template <class T, class I>
ptrdiff_t sparse_stats(const Kernels<T>& kernels, const SparseKernels<T, I>& sparse, const SparseLayer<T, I>& p,
                       Stats out) {
    Tiles<T> z(p.tile_rows, p.K, p.w.lanes, p.pair);
    return sparse_tiles(sparse, p, z, {}, [&](T* a, ptrdiff_t i, ptrdiff_t stop) {
        kernels.row_stats(a, from_row(p.target, i, p.K), from_row(out, i), p.K, 0, stop - i);
    });
}

template <class T, class I>
ptrdiff_t sparse_grad(const Kernels<T>& kernels, const SparseKernels<T, I>& sparse, const SparseLayer<T, I>& p,
                      Stats in, Slopes slopes, const SparseGrads<T>& g) {
    Tiles<T> z(p.tile_rows, p.K, p.w.lanes, p.pair);
    return sparse_tiles(sparse, p, z, g, [&](T* a, ptrdiff_t i, ptrdiff_t stop) {
        kernels.row_grad(a, from_row(p.target, i, p.K), from_row(in, i), from_row(slopes, i), a, p.K, 0, stop - i);
    });
}

// Each row's loss, or, where `loss` is null, their weighted sum alone, which is added to `total`.
template <class T, class I>
ptrdiff_t sparse_fused(const Kernels<T>& kernels, const SparseKernels<T, I>& sparse, const SparseLayer<T, I>& p,
                       Slopes slopes, double* loss, double& total, const SparseGrads<T>& g) {
    Tiles<T> z(p.tile_rows, p.K, p.w.lanes, p.pair);
    return sparse_tiles(sparse, p, z, g, [&](T* a, ptrdiff_t i, ptrdiff_t stop) {
        total += kernels.row_fused(a, from_row(p.target, i, p.K), from_row(slopes, i), loss ? loss + i : nullptr, a,
                                   false, nullptr, p.K, 0, stop - i);
    });
}

// The directional derivative: v and vb (which may be null) are the direction in w and bias, laid out as these are.
template <class T, class I>
ptrdiff_t sparse_hvp(const Kernels<T>& kernels, const SparseKernels<T, I>& sparse, const SparseLayer<T, I>& p,
                     const T* v, const T* vb, Slopes slopes, Curvatures bend, const SparseGrads<T>& g) {
    Tiles<T> z(p.tile_rows, p.K, p.w.lanes, p.pair), a(p.tile_rows, p.K, p.w.lanes, p.pair);
    SparseLayer<T, I> direction = p;
    direction.w.data = v, direction.bias = vb;
    return sparse_tiles(sparse, direction, z, g, [&](T* moved, ptrdiff_t i, ptrdiff_t stop) {
        sparse.gather(p.x, p.kept, p.w, p.bias, a.logits(), a.K, i, stop);
        a.spread(stop - i);
        kernels.row_hvp(a.wide.get(), moved, from_row(p.target, i, p.K), from_row(slopes, i), from_row(bend, i), false,
                        p.K, 0, stop - i);
    });
}

}  // namespace xent
