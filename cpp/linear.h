// The operations on a linear layer whose classes are few enough for a tile of rows: the logits of a tile never leave
// the cache. Nothing here depends on the instruction set; the work is in the tables of kernels.h.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "kernels.h"

namespace xent {

// A linear layer and its target. `packed` holds w turned over, in panels, as pack_w leaves it.
template <class T> struct Linear {
    const T *x, *packed, *w, *bias;
    Target<T> target;
    ptrdiff_t N, D, K;
};

// Rows [begin, end) of one task, a tile of them at a time.
struct Rows {
    ptrdiff_t begin, end, tile;
};

// Where the gradients go: each may be null. dx (N, D) is written, `past` the caches where it is not read again soon, and
// dw (K, D) too; db (K) is added to.
template <class T> struct LinearGrads {
    T *dx, *dw;
    double* db;
    bool past = false;
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
    return {(const char*)(p.x + begin * p.D), (const char*)(p.x + end * p.D)};
}

// The logits of a tile; the rows of x to `next` come towards the cache meanwhile.
template <class T>
void logits(const Kernels<T>& kernels, const Linear<T>& p, T* z, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t next) {
    kernels.logits(p.x + begin * p.D, p.w, p.packed, p.bias, z, p.D, p.K, end - begin, rows_of_x(p, end, next));
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

// dw [+]= residual' x over the given rows; unused rows that are not finite are stepped over.
template <class T>
void add_dw(const Kernels<T>& kernels, const Linear<T>& p, const T* residual, T* dw, ptrdiff_t begin, ptrdiff_t end,
            bool add, Ahead ahead) {
    auto product = [&](ptrdiff_t from, ptrdiff_t to) {
        kernels.matmul({p.K, p.D, to - from, residual + (from - begin) * p.K, 1, p.K, p.x + from * p.D, p.D,
                        kernels.panel, false, dw, p.D, add, true, ahead});
    };
    if (finite_rows(p, residual, begin, end)) return product(begin, end);
    if (!add) std::memset(dw, 0, p.K * p.D * sizeof(T));
    add = true;
    for (ptrdiff_t i = begin; i < end; i++)
        if (finite_rows(p, residual + (i - begin) * p.K, i, i + 1)) product(i, i + 1);
}

// The rows of x after `stop` that are fetched while the logits of a tile are computed, where its dw fetches the others.
inline ptrdiff_t first_half(Rows rows, ptrdiff_t stop, bool dw) {
    const ptrdiff_t next = stop + rows.tile < rows.end ? stop + rows.tile : rows.end;
    return dw ? stop + (next - stop) / 2 : next;
}

// One tile, its dlogits in z; the next tile's rows of x come towards the cache meanwhile.
template <class T>
void spread(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, const LinearGrads<T>& g, const T* z, T* room,
            ptrdiff_t i, ptrdiff_t stop) {
    if (g.db) kernels.add_columns(z, p.K, stop - i, g.db);
    const Ahead ahead = rows_of_x(p, first_half(rows, stop, true), first_half(rows, stop, false));
    if (g.dx) {
        T* dx = room ? room : g.dx + i * p.D;
        kernels.matmul({stop - i, p.D, p.K, z, p.K, 1, p.w, p.D, kernels.panel, false, dx, p.D, false});
        if (room) kernels.copy_past(room, g.dx + i * p.D, (stop - i) * p.D);
    }
    if (g.dw) add_dw(kernels, p, z, g.dw, i, stop, i > rows.begin, ahead);
}

template <class T> void linear_stats(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, Stats out) {
    std::unique_ptr<T[]> z(new T[rows.tile * p.K]);
    for (ptrdiff_t i = rows.begin; i < rows.end; i += rows.tile) {
        const ptrdiff_t stop = i + rows.tile < rows.end ? i + rows.tile : rows.end;
        logits(kernels, p, z.get(), i, stop, first_half(rows, stop, false));
        kernels.row_stats(z.get(), from_row(p.target, i, p.K), from_row(out, i), p.K, 0, stop - i);
    }
}

template <class T>
void linear_grad(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, Stats in, Slopes slopes,
                 const LinearGrads<T>& g) {
    std::unique_ptr<T[]> z(new T[rows.tile * p.K]), room(g.past ? new T[rows.tile * p.D] : nullptr);
    for (ptrdiff_t i = rows.begin; i < rows.end; i += rows.tile) {
        const ptrdiff_t stop = i + rows.tile < rows.end ? i + rows.tile : rows.end;
        logits(kernels, p, z.get(), i, stop, first_half(rows, stop, g.dw));
        kernels.row_grad(z.get(), from_row(p.target, i, p.K), from_row(in, i), from_row(slopes, i), z.get(), p.K, 0,
                         stop - i);
        spread(kernels, p, rows, g, z.get(), room.get(), i, stop);
    }
}

// Whether one logit a row says all: two hard classes, the first without weights, residuals of opposite signs.
template <class T>
bool one_logit(const Kernels<T>& kernels, const Linear<T>& p, const Slopes& slopes, const LinearGrads<T>& g) {
    if (!kernels.pair_fused || p.K != 2 || !p.target.label || p.target.probs || g.dx || !g.dw || slopes.stride)
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
    const double total = kernels.pair_fused(p.x + i * p.D, p.w + p.D, p.bias ? p.bias[1] : T(0), p.target.label + i,
                                            own.weight, own.s[0], loss ? loss + i : nullptr, g.dw + p.D,
                                            g.db ? &db : nullptr, p.D, rows.end - i);
    for (ptrdiff_t d = 0; d < p.D; d++) g.dw[d] = -g.dw[p.D + d];
    if (g.db) g.db[0] -= db, g.db[1] += db;
    return total;
}

// Each row's loss, or, where `loss` is null, their weighted sum, returned.
template <class T>
double linear_fused(const Kernels<T>& kernels, const Linear<T>& p, Rows rows, Slopes slopes, double* loss,
                    const LinearGrads<T>& g) {
    if (one_logit(kernels, p, slopes, g)) return pair_fused(kernels, p, rows, slopes, loss, g);
    std::unique_ptr<T[]> z(new T[rows.tile * p.K]), room(g.past ? new T[rows.tile * p.D] : nullptr);
    double total = 0;
    for (ptrdiff_t i = rows.begin; i < rows.end; i += rows.tile) {
        const ptrdiff_t stop = i + rows.tile < rows.end ? i + rows.tile : rows.end;
        logits(kernels, p, z.get(), i, stop, first_half(rows, stop, g.dw));
        total += kernels.row_fused(z.get(), from_row(p.target, i, p.K), from_row(slopes, i), loss ? loss + i : nullptr,
                                   z.get(), false, nullptr, p.K, 0, stop - i);
        spread(kernels, p, rows, g, z.get(), room.get(), i, stop);
    }
    return total;
}

}  // namespace xent
