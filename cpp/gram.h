// Weighted second moments of dense rows: the lower triangle of sum_i w_i x_i x_i', a tile of rows at a time. Products
// and their sums over a tile are in C, float or double; the sum of the tiles is in double.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels.h"
#include "matmul.h"
#include "vec.h"

namespace XENT_NAMESPACE {

// Bytes of a tile: beside its weighted copy it stays in the second-level cache where rows are short, and where they
// are long it has rows enough (as many, in double) for each sum to be worth its reading and writing.
constexpr ptrdiff_t GRAM_TILE = 1 << 18;
constexpr ptrdiff_t GRAM_LEAST = 96, GRAM_MOST = 512;
// Rows of the result made at once, a multiple of every MR: what lies above the diagonal is made in vain.
constexpr ptrdiff_t GRAM_ROWS = 48;
constexpr ptrdiff_t GRAM_AHEAD = 12;

// How many rows a tile has: by their length alone, so that the same numbers give the same bits.
template <class C> constexpr ptrdiff_t gram_tile(ptrdiff_t P) {
    constexpr ptrdiff_t least = GRAM_LEAST * 8 / ptrdiff_t(sizeof(C));
    const ptrdiff_t tile = GRAM_TILE / ptrdiff_t(sizeof(C)) / (P + 1);
    return tile < least ? least : tile > GRAM_MOST ? GRAM_MOST : tile;
}

// out += a block of sums of one tile, rows x columns.
static void add_tile(const float* sums, ptrdiff_t rows, ptrdiff_t columns, double* out, ptrdiff_t P) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < columns; j++) out[i * P + j] += double(sums[i * columns + j]);
}

// out (P, P) += its rows [first, last), up to the diagonal and somewhat beyond, from the rows of x (., D) whose places
// are at[begin, end), each with its weight. P is D, or D + 1 where a column of ones stands behind the features.
template <class C, class T>
void add_moments_in(const T* x, const int64_t* at, ptrdiff_t D, const double* weight, ptrdiff_t begin, ptrdiff_t end,
                    ptrdiff_t first, ptrdiff_t last, double* out, ptrdiff_t P) {
    constexpr ptrdiff_t W = panel_width<C>();
    constexpr bool direct = sizeof(C) == sizeof(double);
    const ptrdiff_t width = last < D ? last : D;  // columns that are read; those of the left factor
    const ptrdiff_t own = width > first ? width - first : 0;
    const ptrdiff_t panels = (width + W - 1) / W;
    ptrdiff_t tile = gram_tile<C>(P);
    tile = tile < end - begin ? tile : end - begin;
    if (tile <= 0) return;
    const ptrdiff_t block = direct ? 0 : GRAM_ROWS * width;
    const std::unique_ptr<C[]> room(new C[tile * panels * W + tile * own + block + LINE / ptrdiff_t(sizeof(C))]);
    C* right = (C*)(((uintptr_t)room.get() + LINE - 1) / LINE * LINE);
    C* left = right + tile * panels * W;
    for (ptrdiff_t t = begin; t < end; t += tile) {
        const ptrdiff_t n = tile < end - t ? tile : end - t;
        for (ptrdiff_t l = 0; l < n; l++) {
            const T* row = x + at[t + l] * D;
            const C w = C(weight[t + l]);
            if (t + l + GRAM_AHEAD < end) {  // rows that are left out in between keep the hardware from seeing them come
                const T* ahead = x + at[t + l + GRAM_AHEAD] * D;
                for (ptrdiff_t j = 0; j < width; j += LINE / ptrdiff_t(sizeof(T))) __builtin_prefetch(ahead + j);
            }
            for (ptrdiff_t j = 0; j < own; j++) left[l * own + j] = C(row[first + j]);
            for (ptrdiff_t p = 0; p < panels; p++) {
                C* to = right + p * n * W + l * W;
                const ptrdiff_t some = width - p * W < W ? width - p * W : W;
                if (some == W)
                    for (ptrdiff_t k = 0; k < W; k++) to[k] = w * C(row[p * W + k]);
                else
                    for (ptrdiff_t k = 0; k < W; k++) to[k] = k < some ? w * C(row[p * W + k]) : C(0);
            }
        }
        for (ptrdiff_t i = 0; i < own; i += GRAM_ROWS) {
            const ptrdiff_t rows = GRAM_ROWS < own - i ? GRAM_ROWS : own - i, columns = first + i + rows;
            double* to = out + (first + i) * P;
            C* sums = left + tile * own;
            if constexpr (direct) sums = to;
            Product<C> product{rows, columns, n,    left + i,           1, own, right, W, n * W, true,
                               sums, direct ? P : columns, direct};
            product.by_rows = true;
            matmul(product);
            if constexpr (!direct) add_tile(sums, rows, columns, to, P);
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

template <class T>
void add_moments(const T* x, const int64_t* at, ptrdiff_t D, const double* weight, ptrdiff_t begin, ptrdiff_t end,
                 ptrdiff_t first, ptrdiff_t last, bool in_float, double* out, ptrdiff_t P) {
    if (in_float) add_moments_in<float>(x, at, D, weight, begin, end, first, last, out, P);
    else add_moments_in<double>(x, at, D, weight, begin, end, first, last, out, P);
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
