// Weighted second moments of dense rows, in double: the lower triangle of sum_i w_i x_i x_i', a tile of rows at a time.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels.h"
#include "matmul.h"
#include "vec.h"

namespace XENT_NAMESPACE {

// Numbers of a tile: beside its weighted copy it stays in the second-level cache where rows are short, and where they
// are long it has rows enough for each sum to be worth its reading and writing.
constexpr ptrdiff_t GRAM_TILE = 1 << 15;
constexpr ptrdiff_t GRAM_LEAST = 96, GRAM_MOST = 512;
// Rows of the result made at once, a multiple of every MR: what lies above the diagonal is made in vain.
constexpr ptrdiff_t GRAM_ROWS = 48;
constexpr ptrdiff_t GRAM_AHEAD = 12;

// out (P, P) += its rows [first, last), up to the diagonal and somewhat beyond, from the rows of x (., D) whose places
// are at[begin, end), each with its weight. P is D, or D + 1 where a column of ones stands behind the features.
template <class T>
void add_moments(const T* x, const int64_t* at, ptrdiff_t D, const double* weight, ptrdiff_t begin, ptrdiff_t end,
                 ptrdiff_t first, ptrdiff_t last, double* out, ptrdiff_t P) {
    constexpr ptrdiff_t W = panel_width<double>();
    const ptrdiff_t width = last < D ? last : D, own = width - first;  // columns that are read; those of the left factor
    const ptrdiff_t panels = (width + W - 1) / W;
    ptrdiff_t tile = GRAM_TILE / (P + 1);
    tile = tile < GRAM_LEAST ? GRAM_LEAST : tile > GRAM_MOST ? GRAM_MOST : tile;
    tile = tile < end - begin ? tile : end - begin;
    if (tile <= 0) return;
    const std::unique_ptr<double[]> room(new double[tile * (own > 0 ? own : 0) + tile * panels * W + LINE / 8]);
    double* right = (double*)(((uintptr_t)room.get() + LINE - 1) / LINE * LINE);
    double* left = right + tile * panels * W;
    for (ptrdiff_t t = begin; t < end; t += tile) {
        const ptrdiff_t n = tile < end - t ? tile : end - t;
        for (ptrdiff_t l = 0; l < n; l++) {
            const T* row = x + at[t + l] * D;
            const double w = weight[t + l];
            if (t + l + GRAM_AHEAD < end) {  // rows that are left out in between keep the hardware from seeing them come
                const T* ahead = x + at[t + l + GRAM_AHEAD] * D;
                for (ptrdiff_t j = 0; j < width; j += LINE / ptrdiff_t(sizeof(T))) __builtin_prefetch(ahead + j);
            }
            for (ptrdiff_t j = 0; j < own; j++) left[l * own + j] = double(row[first + j]);
            for (ptrdiff_t p = 0; p < panels; p++) {
                double* to = right + p * n * W + l * W;
                const ptrdiff_t some = width - p * W < W ? width - p * W : W;
                if (some == W)
                    for (ptrdiff_t k = 0; k < W; k++) to[k] = w * double(row[p * W + k]);
                else
                    for (ptrdiff_t k = 0; k < W; k++) to[k] = k < some ? w * double(row[p * W + k]) : 0.0;
            }
        }
        for (ptrdiff_t i = 0; i < own; i += GRAM_ROWS) {
            const ptrdiff_t rows = GRAM_ROWS < own - i ? GRAM_ROWS : own - i;
            Product<double> product{rows, first + i + rows, n,   left + i, 1, own, right, W, n * W, true,
                                    out + (first + i) * P, P, true};
            product.by_rows = true;
            matmul(product);
        }
        if (last > D) {
            double* mean = out + D * P;
            for (ptrdiff_t p = 0; p < panels; p++) {
                double sum[W] = {};
                for (ptrdiff_t l = 0; l < n; l++)
                    for (ptrdiff_t k = 0; k < W; k++) sum[k] += right[p * n * W + l * W + k];
                for (ptrdiff_t k = 0; k < W && p * W + k < D; k++) mean[p * W + k] += sum[k];
            }
            for (ptrdiff_t l = 0; l < n; l++) mean[D] += weight[t + l];
        }
    }
}

// out (P, P), its rows [first, last) up to the diagonal, = the sum of so many parts, and what lies across the same.
static void both_triangles(const double* parts, ptrdiff_t count, ptrdiff_t P, ptrdiff_t first, ptrdiff_t last, double* out) {
    constexpr ptrdiff_t B = 16;
    for (ptrdiff_t i = first; i < last; i += B)
        for (ptrdiff_t j = 0; j < i + B; j += B)
            for (ptrdiff_t a = i; a < last && a < i + B; a++)
                for (ptrdiff_t b = j; b <= a && b < j + B; b++) {
                    double sum = 0;
                    for (ptrdiff_t p = 0; p < count; p++) sum += parts[p * P * P + a * P + b];
                    out[a * P + b] = out[b * P + a] = sum;
                }
}

}  // namespace XENT_NAMESPACE
