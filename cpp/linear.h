// The operations on a linear layer whose classes are few enough for a tile of rows: the logits of a tile never leave
// the cache. Nothing here depends on the instruction set; the work is in the tables of kernels.h.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "kernels.h"

namespace xent {

// A linear layer and its target. `packed` holds w turned over, in panels, as pack_w leaves it. x may be stored in the
// other type (`other`, and x is null): then a tile of rows is converted at a time.
template <class T> struct Linear {
    const T *x, *packed, *w, *bias;
    Target<T> target;
    ptrdiff_t N, D, K;
    const Other<T>* other = nullptr;
};

// Rows [begin, end) of one task, a tile of them at a time.
struct Rows {
    ptrdiff_t begin, end, tile;
};

// Where the gradients go: each may be null. dx (N, D), in the type that x is stored in, is written, `past` the caches
// where it is not read again soon, and dw (K, D) too; db (K) is added to.
template <class T> struct LinearGrads {
    T *dx, *dw;
    double* db;
    bool past = false;
    Other<T>* other_dx = nullptr;
};

// What a task works on: logits of a tile, its rows where they are converted, and its dx where that goes elsewhere.
template <class T> struct Desk {
    std::unique_ptr<T[]> z, x, dx;

    Desk(const Linear<T>& p, Rows rows, bool dx_apart = false)
        : z(new T[rows.tile * p.K]),
          x(p.other ? new T[rows.tile * p.D] : nullptr),
          dx(dx_apart ? new T[rows.tile * p.D] : nullptr) {}

    Desk(const Linear<T>& p, Rows rows, const LinearGrads<T>& g) : Desk(p, rows, g.past || g.other_dx) {}
};

template <class T> Target<T> from_row(Target<T> q, ptrdiff_t row, ptrdiff_t K) {
    return {q.label ? q.label + row : nullptr, q.probs ? q.probs + row * K : nullptr};
}

inline Stats from_row(Stats in, ptrdiff_t row) {
    return {in.m + row, in.s + row, in.t ? in.t + row : nullptr, in.u ? in.u + row : nullptr};
}

inline Slopes from_row(Slopes in, ptrdiff_t row) {
    const ptrdiff_t k = row * in.stride;
    return {in.s + k, in.t + k, in.u + k, in.stride, in.weight ? in.weight + row : nullptr};
}

template <class T>
void pack_w(const Kernels<T>& kernels, const T* w, ptrdiff_t K, ptrdiff_t D, T* packed, ptrdiff_t first,
            ptrdiff_t last) {
    const ptrdiff_t c = first * kernels.panel, stop = last * kernels.panel < K ? last * kernels.panel : K;
    kernels.pack_columns(w + c * D, D, D, stop - c, packed + c * D);
}

template <class T> Ahead rows_of_x(const Linear<T>& p, ptrdiff_t begin, ptrdiff_t end) {
    if (p.other) return {(const char*)(p.other + begin * p.D), (const char*)(p.other + end * p.D)};
    return {(const char*)(p.x + begin * p.D), (const char*)(p.x + end * p.D)};
}

// The logits of a tile; the rows of x to `next` come towards the cache meanwhile. Where the tile's own rows are, or are
// left in `room`.
template <class T>
const T* logits(const Kernels<T>& kernels, const Linear<T>& p, T* room, T* z, ptrdiff_t begin, ptrdiff_t end,
                ptrdiff_t next) {
    const ptrdiff_t at = begin * p.D, rows = end - begin;
    const Ahead ahead = rows_of_x(p, end, next);
    if (p.other) kernels.other_logits(p.other + at, room, p.w, p.packed, p.bias, z, p.D, p.K, rows, ahead);
    else kernels.logits(p.x + at, p.w, p.packed, p.bias, z, p.D, p.K, rows, ahead);
    return p.other ? room : p.x + at;
}

// A row with NaN or infinity that is left out must not reach dw through 0 * NaN: it enters the product as zeros. x is
// (rows, D).
template <class T> bool finite_rows(const Linear<T>& p, const T* x, const T* residual, ptrdiff_t rows) {
    for (ptrdiff_t i = 0; i < rows; i++) {
        bool used = false;
        for (ptrdiff_t k = 0; k < p.K && !used; k++) used = residual[i * p.K + k] != 0;
        if (used) continue;
        T sum = 0;
        for (ptrdiff_t d = 0; d < p.D; d++) sum += x[i * p.D + d] * 0;
        if (sum != 0) return false;
    }
    return true;
}

// dw [+]= residual' x over the given rows; unused rows that are not finite are stepped over.
template <class T>
void add_dw(const Kernels<T>& kernels, const Linear<T>& p, const T* x, const T* residual, T* dw, ptrdiff_t rows,
            bool add, Ahead ahead) {
    auto product = [&](ptrdiff_t from, ptrdiff_t to) {
        kernels.matmul({p.K, p.D, to - from, residual + from * p.K, 1, p.K, x + from * p.D, p.D, kernels.panel, false,
                        dw, p.D, add, true, ahead});
    };
    if (finite_rows(p, x, residual, rows)) return product(0, rows);
    if (!add) std::memset(dw, 0, p.K * p.D * sizeof(T));
    add = true;
    for (ptrdiff_t i = 0; i < rows; i++)
        if (finite_rows(p, x + i * p.D, residual + i * p.K, 1)) product(i, i + 1);
}

// Whether dw fetches all of the next tile, two lines at a time: dot products in float64, or a conversion, keep the first
// level of the cache so busy that what they fetch besides is dropped.
template <class T> bool dw_fetches_all(const Linear<T>& p) {
    constexpr ptrdiff_t FEW = 16;  // classes up to which logits may be dot products
    return p.K <= FEW && (p.other || sizeof(T) == 8);
}

// The end of the rows of x after `stop` that are fetched while the logits of a tile are computed, where its dw fetches
// the others.
template <class T> ptrdiff_t first_half(const Linear<T>& p, Rows rows, ptrdiff_t stop, bool dw) {
    const ptrdiff_t next = stop + rows.tile < rows.end ? stop + rows.tile : rows.end;
    return !dw ? next : dw_fetches_all(p) ? stop : stop + (next - stop) / 2;
}

template <class T> Ahead fetched_by_dw(const Linear<T>& p, Rows rows, ptrdiff_t stop) {
    Ahead ahead = rows_of_x(p, first_half(p, rows, stop, true), first_half(p, rows, stop, false));
    if (!dw_fetches_all(p)) return ahead;
    ahead.skip = (ahead.end - ahead.at) / 128 * 64;
    ahead.end = ahead.at + ahead.skip;
    return ahead;
}

// One tile of rows x, its dlogits in the desk's z; the next tile's rows come towards the cache meanwhile.
template <class T>
void spread(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, const LinearGrads<T>& g, const Desk<T>& desk,
            const T* x, ptrdiff_t i, ptrdiff_t stop) {
    const T* z = desk.z.get();
    const ptrdiff_t at = i * p.D, n = stop - i;
    if (g.db) kernels.add_columns(z, p.K, n, g.db);
    const Ahead ahead = fetched_by_dw(p, rows, stop);
    if (g.dx || g.other_dx) {
        T* dx = desk.dx ? desk.dx.get() : g.dx + at;
        kernels.matmul({n, p.D, p.K, z, p.K, 1, p.w, p.D, kernels.panel, false, dx, p.D, false});
        if (g.other_dx) kernels.to_other(dx, g.other_dx + at, n * p.D);
        else if (g.past) kernels.copy_past(dx, g.dx + at, n * p.D);
    }
    if (g.dw) add_dw(kernels, p, x, z, g.dw, n, i > rows.begin, ahead);
}

template <class T> void linear_stats(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, Stats out) {
    const Desk<T> desk(p, rows);
    T* z = desk.z.get();
    for (ptrdiff_t i = rows.begin; i < rows.end; i += rows.tile) {
        const ptrdiff_t stop = i + rows.tile < rows.end ? i + rows.tile : rows.end;
        logits(kernels, p, desk.x.get(), z, i, stop, first_half(p, rows, stop, false));
        kernels.row_stats(z, from_row(p.target, i, p.K), from_row(out, i), p.K, 0, stop - i);
    }
}

template <class T>
void linear_grad(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, Stats in, Slopes slopes,
                 const LinearGrads<T>& g) {
    const Desk<T> desk(p, rows, g);
    T* z = desk.z.get();
    for (ptrdiff_t i = rows.begin; i < rows.end; i += rows.tile) {
        const ptrdiff_t stop = i + rows.tile < rows.end ? i + rows.tile : rows.end;
        const T* x = logits(kernels, p, desk.x.get(), z, i, stop, first_half(p, rows, stop, g.dw));
        kernels.row_grad(z, from_row(p.target, i, p.K), from_row(in, i), from_row(slopes, i), z, p.K, 0, stop - i);
        spread(kernels, p, rows, g, desk, x, i, stop);
    }
}

// Whether one logit a row says all: two hard classes, the first without weights, residuals of opposite signs.
template <class T>
bool one_logit(const Kernels<T>& kernels, const Linear<T>& p, const Slopes& slopes, const LinearGrads<T>& g) {
    if (!kernels.pair_fused || p.K != 2 || !p.target.label || p.target.probs || g.dx || g.other_dx || !g.dw ||
        slopes.stride)
        return false;
    if (slopes.u[0] != 0 || slopes.s[0] + slopes.t[0] != 0 || (p.bias && p.bias[0] != 0)) return false;
    for (ptrdiff_t d = 0; d < p.D; d++)
        if (p.w[d] != 0) return false;
    return true;
}

template <class T>
double pair_fused(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, Slopes slopes, double* loss,
                  const LinearGrads<T>& g) {
    const ptrdiff_t i = rows.begin;
    const Slopes own = from_row(slopes, i);
    double db = 0;
    std::memset(g.dw, 0, 2 * p.D * sizeof(T));
    auto fused = [&](auto kernel, auto x) {
        return kernel(x + i * p.D, p.w + p.D, p.bias ? p.bias[1] : T(0), p.target.label + i, own.weight, own.s[0],
                      loss ? loss + i : nullptr, g.dw + p.D, g.db ? &db : nullptr, p.D, rows.end - i);
    };
    const double total = p.other ? fused(kernels.other_pair_fused, p.other) : fused(kernels.pair_fused, p.x);
    for (ptrdiff_t d = 0; d < p.D; d++) g.dw[d] = -g.dw[p.D + d];
    if (g.db) g.db[0] -= db, g.db[1] += db;
    return total;
}

// Each row's loss, or, where `loss` is null, their weighted sum, returned.
template <class T>
double linear_fused(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, Slopes slopes, double* loss,
                    const LinearGrads<T>& g) {
    if (one_logit(kernels, p, slopes, g)) return pair_fused(kernels, p, rows, slopes, loss, g);
    const Desk<T> desk(p, rows, g);
    T* z = desk.z.get();
    double total = 0;
    for (ptrdiff_t i = rows.begin; i < rows.end; i += rows.tile) {
        const ptrdiff_t stop = i + rows.tile < rows.end ? i + rows.tile : rows.end;
        const T* x = logits(kernels, p, desk.x.get(), z, i, stop, first_half(p, rows, stop, g.dw));
        total += kernels.row_fused(z, from_row(p.target, i, p.K), from_row(slopes, i), loss ? loss + i : nullptr, z,
                                   false, nullptr, p.K, 0, stop - i);
        spread(kernels, p, rows, g, desk, x, i, stop);
    }
    return total;
}

}  // namespace xent
