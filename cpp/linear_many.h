// A linear layer of very many classes: a tile of rows against blocks of classes, so that no row of logits need exist
// whole. w and dw are too large for any cache and stream by; what is reused, the tile of rows, is packed once for all
// blocks. A row's statistics over blocks of classes merge exactly.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "linear.h"

namespace xent {

// How one row's statistics over some classes are kept: sum exp(a - m) = 1 + rest, t = sum q (a - m), mass = sum q,
// u = sum (a - m), over `classes` classes. No class, or nothing but -inf: m = -inf, rest = -1.
struct Part {
    double m = -std::numeric_limits<double>::infinity(), rest = -1, t = 0, mass = 0, u = 0, classes = 0;
};

inline double shifted(double distance, double count) { return count != 0 ? distance * count : 0.0; }

inline Part merged(const Part& a, const Part& b) {
    if (!(b.m <= a.m) && a.m == a.m) return merged(b, a);  // the larger maximum first; NaN stays
    const double down = b.m == a.m ? 0.0 : b.m - a.m;
    Part out = a;
    out.rest = b.rest == -1 ? a.rest : a.rest + std::exp(down) * (1 + b.rest);
    out.t += b.t + shifted(down, b.mass);
    out.u += b.u + shifted(down, b.classes);
    out.mass += b.mass;
    out.classes += b.classes;
    return out;
}

// The layer here is a tile of rows, packed both ways: turned over (D x rows), and as it lies (rows x D) with rows that
// are left out as zeros, since 0 * NaN is not 0.
template <class T> struct RowTile {
    T *turned, *packed;
};

// A block of classes has as many at least, unless it has all: row_grad is given the row's maximum, which a kernel for
// few classes would find itself.
constexpr ptrdiff_t FEWEST_CLASSES = 96;

// Classes [first, last) of one task, `block` of them a time; the w of a `strip` of them waits in the second-level
// cache.
struct Classes {
    ptrdiff_t first, last, block, strip;
};

template <class T>
void pack_tile(const Kernels<T>& kernels, const Linear<T>& p, const double* weight, RowTile<T> tile) {
    const ptrdiff_t D = p.D, R = p.N, P = kernels.panel;
    kernels.pack_columns(p.x, D, D, R, tile.turned);
    kernels.pack_rows(p.x, D, R, D, tile.packed);
    for (ptrdiff_t i = 0; i < R; i++) {
        if (!(p.target.label && p.target.label[i] < 0) && !(weight && weight[i] == 0)) continue;
        for (ptrdiff_t j = 0; j < D; j += P) std::fill_n(tile.packed + j * R + i * P, P, T(0));
    }
}

// One block of classes for a tile of rows: z (rows, n), and the part of the target that lies in it.
template <class T> class ClassBlock {
  public:
    ClassBlock(const Kernels<T>& kernels, const Linear<T>& p, RowTile<T> tile, const Classes& classes, T* kept)
        : kernels(kernels),
          p(p),
          tile(tile),
          classes(classes),
          kept(kept),
          R(p.N),
          most(std::min(classes.block + FEWEST_CLASSES, classes.last - classes.first)),
          own(kept ? 0 : most * R),
          turned(std::min(TURNED, most) * R),
          probs(p.target.probs ? most * R : most),
          label(R) {}

    // Go to the classes from c on and return where they end; with `compute`, their logits are made, else they are where
    // an earlier pass kept them.
    ptrdiff_t move_to(ptrdiff_t c, bool compute) {
        first = c;
        n = classes.last - c < classes.block + FEWEST_CLASSES ? classes.last - c : classes.block;
        z = kept ? kept + c * R : own.data();
        if (compute) logits();
        for (ptrdiff_t i = 0; i < R; i++) {
            label[i] = p.target.label ? p.target.label[i] : 0;
            if (p.target.probs) std::copy_n(p.target.probs + i * p.K + c, n, probs.data() + i * n);
            else label[i] = label[i] < 0 ? -1 : (label[i] < c || label[i] >= c + n) ? ELSEWHERE : label[i] - c;
        }
        return c + n;
    }

    void add_stats(Part* parts, bool want_u);
    void to_gradient(Stats in, Slopes slopes);
    void spread(const LinearGrads<T>& g, T* dx, bool first_tile, bool first_block) const;

  private:
    static constexpr ptrdiff_t TURNED = 96;  // classes whose logits are turned over at once
    static constexpr int64_t ELSEWHERE = std::numeric_limits<int64_t>::max();
    const Kernels<T>& kernels;
    const Linear<T>& p;
    RowTile<T> tile;
    Classes classes;
    T* kept;
    ptrdiff_t R, most, first = 0, n = 0;
    T* z = nullptr;
    std::vector<T> own, turned, probs;  // without probabilities in the target, `probs` is a row of zeros
    std::vector<int64_t> label;

    Ahead rows_of_w(ptrdiff_t from, ptrdiff_t count) const {
        return {(const char*)(p.w + from * p.D), (const char*)(p.w + std::min(from + count, classes.last) * p.D)};
    }

    void logits() {
        for (ptrdiff_t k = 0; k < n; k += TURNED) {
            const ptrdiff_t m = std::min(TURNED, n - k), P = kernels.panel;
            if (p.bias)
                for (ptrdiff_t i = 0; i < m; i++) std::fill_n(turned.data() + i * R, R, p.bias[first + k + i]);
            kernels.matmul({m, R, p.D, p.w + (first + k) * p.D, p.D, 1, tile.turned, P, P * p.D, true, turned.data(), R,
                            p.bias != nullptr, true, rows_of_w(first + k + m, TURNED)});
            kernels.transpose(turned.data(), R, m, R, z + k, n);
        }
    }
};

template <class T> void ClassBlock<T>::add_stats(Part* parts, bool want_u) {
    const bool soft = p.target.probs;
    std::vector<double> found(4 * R);
    Stats out = {found.data(), found.data() + R, found.data() + 2 * R, want_u ? found.data() + 3 * R : nullptr};
    std::vector<int64_t> inside(label);
    if (!soft)
        for (auto& k : inside) k = k == ELSEWHERE ? 0 : k;
    kernels.row_stats(z, {inside.data(), soft ? probs.data() : nullptr}, out, n, 0, R);
    for (ptrdiff_t i = 0; i < R; i++) {
        if (label[i] < 0) continue;
        const T* row = z + i * n;
        Part part;
        part.m = out.m[i];
        part.classes = double(n);
        if (soft)
            for (ptrdiff_t k = 0; k < n; k++) part.mass += probs[i * n + k];
        else part.mass = label[i] != ELSEWHERE;
        const T lowest = -std::numeric_limits<T>::infinity();
        const bool nothing = part.m == lowest && std::all_of(row, row + n, [=](T a) { return a == lowest; });
        if (!nothing) {
            part.rest = std::expm1(out.s[i]);
            part.t = soft || label[i] != ELSEWHERE ? out.t[i] : 0;
            part.u = want_u ? out.u[i] : 0;
        }
        parts[i] = merged(parts[i], part);
    }
}

// The logits become the gradient in them. A row whose label is elsewhere has a target of zeros here.
template <class T> void ClassBlock<T>::to_gradient(Stats in, Slopes slopes) {
    if (p.target.probs) return kernels.row_grad(z, {label.data(), probs.data()}, in, slopes, z, n, 0, R);
    for (ptrdiff_t i = 0; i < R; i++) {
        Target<T> q = {label.data() + i, nullptr};
        if (label[i] == ELSEWHERE) q = {nullptr, probs.data()};
        kernels.row_grad(z + i * n, q, from_row(in, i), from_row(slopes, i), z + i * n, n, 0, 1);
    }
}

// The gradient in the logits, spread: dw and db of these classes, and their share of dx (rows, D).
template <class T> void ClassBlock<T>::spread(const LinearGrads<T>& g, T* dx, bool first_tile, bool first_block) const {
    const ptrdiff_t D = p.D, P = kernels.panel;
    if (g.db) kernels.add_columns(z, n, R, g.db + first);
    for (ptrdiff_t k = 0; k < n; k += classes.strip) {
        const ptrdiff_t c = first + k, m = std::min(classes.strip, n - k);
        if (g.dw)
            kernels.matmul({m, D, R, z + k, 1, n, tile.packed, P, P * R, true, g.dw + c * D, D, !first_tile, true,
                            dx ? rows_of_w(c, m) : Ahead{nullptr, nullptr}});
        if (!dx) continue;
        const char* next = (const char*)(kept ? z + n * R : p.w);
        const Ahead ahead = {next, kept && k + m == n && c + m < classes.last ? next + n * R * sizeof(T) : next};
        kernels.matmul({R, D, m, z + k, n, 1, p.w + c * D, D, P, false, dx, D, !first_block || k > 0, true, ahead});
    }
}

// Statistics of a tile's rows over these classes, into parts (rows); the logits stay in `kept` (K, rows in blocks).
template <class T>
void many_stats(const Kernels<T>& kernels, const Linear<T>& p, RowTile<T> tile, const Classes& classes, T* kept,
                Part* parts, bool want_u) {
    ClassBlock<T> block(kernels, p, tile, classes, kept);
    std::fill_n(parts, p.N, Part());
    for (ptrdiff_t c = classes.first; c < classes.last;) {
        c = block.move_to(c, true);
        block.add_stats(parts, want_u);
    }
}

// Gradients from a tile's rows and these classes; without `kept` the logits are computed again. dx is overwritten, dw
// too where the tile is the first.
template <class T>
void many_grad(const Kernels<T>& kernels, const Linear<T>& p, RowTile<T> tile, const Classes& classes, T* kept,
               Stats in, Slopes slopes, const LinearGrads<T>& g, T* dx, bool first_tile) {
    ClassBlock<T> block(kernels, p, tile, classes, kept);
    for (ptrdiff_t c = classes.first; c < classes.last;) {
        const bool first = c == classes.first;
        c = block.move_to(c, !kept);
        block.to_gradient(in, slopes);
        block.spread(g, dx, first_tile, first);
    }
}

// The parts of all groups of classes, merged in order: parts (groups, rows).
template <class T> void many_merge(const Linear<T>& p, const Part* parts, ptrdiff_t groups, Stats out) {
    for (ptrdiff_t i = 0; i < p.N; i++) {
        Part all;
        for (ptrdiff_t g = 0; g < groups; g++) all = merged(all, parts[g * p.N + i]);
        const bool left_out = p.target.label && p.target.label[i] < 0, undefined = all.m - all.m != 0;
        out.m[i] = left_out ? 0 : all.m;
        out.s[i] = left_out ? 0 : undefined ? std::numeric_limits<double>::quiet_NaN() : std::log1p(all.rest);
        out.t[i] = left_out ? 0 : all.t;
        if (out.u) out.u[i] = left_out ? 0 : all.u;
    }
}

}  // namespace xent
