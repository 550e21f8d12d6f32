// Models of fits with an L1 penalty and many coordinates: descent by coordinates, and products, by columns of X.
#pragma once

#include "kernels.h"

namespace XENT_NAMESPACE {

using xent::Coordinates;
using xent::RowCurvature;

// z (N, V) += what the coordinates `which` change of it by their steps (P).
static void spread_columns(const Coordinates& x, const int64_t* which, ptrdiff_t n, const double* step, double* z) {
    for (ptrdiff_t a = 0; a < n; a++) {
        const int64_t j = which[a], c = x.column[j];
        const double s = step[j];
        if (s == 0) continue;
        double* to = z + x.vector[j];
        for (int64_t at = x.start[c]; at < x.start[c + 1]; at++) to[x.row[at] * x.vectors] += s * x.value[at];
    }
}

// One entry of each coordinate in `which`: the product of its column with its vector of r (N, V), or of the column's
// squares.
static void gather_columns(const Coordinates& x, const int64_t* which, ptrdiff_t n, const double* r, bool squares,
                           double* out) {
    for (ptrdiff_t a = 0; a < n; a++) {
        const int64_t j = which[a], c = x.column[j];
        const double* from = r + x.vector[j];
        const ptrdiff_t V = x.vectors;
        double sum[4] = {};
        int64_t at = x.start[c];
        const int64_t end = x.start[c + 1];
        auto term = [&](int64_t i) {
            const double v = x.value[i];
            return (squares ? v * v : v) * from[x.row[i] * V];
        };
        for (; at + 4 <= end; at += 4)
            for (int u = 0; u < 4; u++) sum[u] += term(at + u);
        for (; at < end; at++) sum[0] += term(at);
        out[a] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
}

// The slope of the rows' model in one coordinate: that of the logits as changed. Of two classes `change` is how far the
// slopes of the rows have moved; of several, how far the logits have, and `mean` is p'change.
template <bool several>
XENT_INLINE double moved_slope(const Coordinates& x, const RowCurvature& h, int64_t c, ptrdiff_t k) {
    const ptrdiff_t V = x.vectors;
    double sum[4] = {};
    auto term = [&](int64_t at) {
        const ptrdiff_t i = x.row[at];
        if constexpr (!several) return x.value[at] * h.change[i];
        else return x.value[at] * h.weight[i] * h.p[i * V + k] * (h.change[i * V + k] - h.mean[i]);
    };
    int64_t at = x.start[c];
    const int64_t end = x.start[c + 1];
    for (; at + 4 <= end; at += 4)
        for (int u = 0; u < 4; u++) sum[u] += term(at + u);
    for (; at < end; at++) sum[0] += term(at);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <bool several>
double descend(const Coordinates& x, const RowCurvature& h, const int64_t* which, ptrdiff_t n, const double* base,
               const double* l1, const double* l2, const double* diagonal, double* u) {
    double worst = 0;
    const ptrdiff_t V = x.vectors;
    for (ptrdiff_t a = 0; a < n; a++) {
        const int64_t j = which[a], c = x.column[j];
        const ptrdiff_t k = x.vector[j];
        const double old = u[j], slope = base[j] + l2[j] * old + moved_slope<several>(x, h, c, k);
        const double over = __builtin_fabs(slope) - l1[j];
        const double off = old ? __builtin_fabs(slope + (old > 0 ? l1[j] : -l1[j])) : over > 0 ? over : 0;
        worst = off > worst || off != off ? off : worst;
        if (off == 0 || !(diagonal[j] > 0)) continue;
        const double z = old - slope / diagonal[j], threshold = l1[j] / diagonal[j];
        const double now = z > threshold ? z - threshold : z < -threshold ? z + threshold : 0, step = now - old;
        if (step == 0) continue;
        u[j] = now;
        for (int64_t at = x.start[c]; at < x.start[c + 1]; at++) {
            const ptrdiff_t i = x.row[at];
            const double dz = step * x.value[at];
            if constexpr (!several) {
                h.change[i] += h.weight[i] * dz;
            } else {
                h.change[i * V + k] += dz;
                h.mean[i] += h.p[i * V + k] * dz;
            }
        }
    }
    return worst;
}

// One exact minimisation over each coordinate in `which`, in that order, of the model whose slope at u is
// ``base + l2 u`` and what `h` says, plus ``l1 |u|``; u (P) and h in place. The largest violation of the optimality
// conditions that was met.
static double descend_columns(const Coordinates& x, const RowCurvature& h, const int64_t* which, ptrdiff_t n,
                              const double* base, const double* l1, const double* l2, const double* diagonal,
                              double* u) {
    return h.p ? descend<true>(x, h, which, n, base, l1, l2, diagonal, u)
               : descend<false>(x, h, which, n, base, l1, l2, diagonal, u);
}

}  // namespace XENT_NAMESPACE
