// Lower triangles (P, P), row after row: factored (Cholesky) in the type that they are kept in, solved in double. Kept in
// float they are half as much to read, which is what a solve waits for, and what is solved is exact for them.
#pragma once

#include <cmath>
#include <memory>

#include "convert.h"
#include "matmul.h"

namespace XENT_NAMESPACE {

constexpr ptrdiff_t TRIANGLE_ROWS = 8;    // rows of a solve at a time: whole vectors lie before each group of them
constexpr ptrdiff_t TRIANGLE_BLOCK = 32;  // columns of a factor at a time: whole panels, small enough for scalar code

// The first of rows that are read next, where the present ones are read at column d.
template <class T> XENT_INLINE void fetch_row(const T* row, ptrdiff_t d) {
    if (d % (LINE / ptrdiff_t(sizeof(T))) == 0) __builtin_prefetch(row + d);
}

// R rows of L from row i: x[i ...] -= their products with x[: i].
template <class T, int R> XENT_INLINE void take_off_rows(const T* L, ptrdiff_t P, ptrdiff_t i, double* x) {
    constexpr ptrdiff_t W = Vec<double>::width;
    VecD sum[R] = {};
    ptrdiff_t d = 0;
    const T* row = L + i * P;
    const bool more = R == TRIANGLE_ROWS && i + 2 * R <= P;
    for (; d + W <= i; d += W) {
        const VecD v = load(x + d);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            sum[r] += read_as<double>(row + r * P + d) * v;
            if (more) fetch_row(row + (r + R) * P, d);
        }
    }
    for (int r = 0; r < R; r++) {
        double s = sum_lanes(sum[r]);
        for (ptrdiff_t j = d; j < i + r; j++) s += double(row[r * P + j]) * x[j];
        x[i + r] = (x[i + r] - s) / double(row[r * P + i + r]);
    }
}

// x (P) = L^-1 x.
template <class T> void solve_lower(const T* L, ptrdiff_t P, double* x) {
    constexpr int R = TRIANGLE_ROWS;
    ptrdiff_t i = 0;
    for (; i + R <= P; i += R) take_off_rows<T, R>(L, P, i, x);
    for (; i < P; i++) take_off_rows<T, 1>(L, P, i, x);
}

// x[: i] += the rows of L from row i, n of them, each times its factor. All are read at once if there are R.
template <class T, int R>
XENT_INLINE void add_rows(const T* L, ptrdiff_t P, ptrdiff_t i, const double* by, double* x, ptrdiff_t next) {
    constexpr ptrdiff_t W = Vec<double>::width;
    const T* row = L + i * P;
    ptrdiff_t d = 0;
    for (; d + W <= i; d += W) {
        VecD v = load(x + d);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            v += splat(by[r]) * read_as<double>(row + r * P + d);
            if (next) fetch_row(row + r * P + next, d);
        }
        store(x + d, v);
    }
    for (; d < i; d++)
        for (int r = 0; r < R; r++) x[d] += by[r] * double(row[r * P + d]);
}

// x (P) = L'^-1 x.
template <class T> void solve_upper(const T* L, ptrdiff_t P, double* x) {
    constexpr ptrdiff_t R = TRIANGLE_ROWS;
    ptrdiff_t i = P;
    for (; i % R; i--) {
        const double by = -(x[i - 1] /= double(L[(i - 1) * P + i - 1]));
        add_rows<T, 1>(L, P, i - 1, &by, x, 0);
    }
    for (; i > 0; i -= R) {
        const ptrdiff_t first = i - R;
        double by[R];
        for (ptrdiff_t r = R - 1; r >= 0; r--) {
            double s = x[first + r];
            for (ptrdiff_t q = r + 1; q < R; q++) s += by[q] * double(L[(first + q) * P + first + r]);
            x[first + r] = s / double(L[(first + r) * P + first + r]);
            by[r] = -x[first + r];
        }
        add_rows<T, R>(L, P, first, by, x, first ? -R * P : 0);
    }
}

// x (P) = L' x.
template <class T> void times_upper(const T* L, ptrdiff_t P, double* x) {
    for (ptrdiff_t i = 0; i < P; i++) {
        const double by = x[i];
        add_rows<T, 1>(L, P, i, &by, x, 0);
        x[i] = by * double(L[i * P + i]);
    }
}

// x (K, P) = what one of these says of the triangles L (K, P, P): the first, the second or the third.
template <class T>
void with_triangles(const T* L, ptrdiff_t K, ptrdiff_t P, int what, double* x) {
    for (ptrdiff_t k = 0; k < K; k++) {
        const T* own = L + k * P * P;
        if (what == 0) solve_lower(own, P, x + k * P);
        else if (what == 1) solve_upper(own, P, x + k * P);
        else times_upper(own, P, x + k * P);
    }
}

// The factor of a block of n rows and columns in L, its upper triangle turned over, and the inverse of that; in double.
template <class T> bool factor_block(const T* from, ptrdiff_t n, double* U, T* inverse) {
    constexpr ptrdiff_t B = TRIANGLE_BLOCK;
    for (ptrdiff_t i = 0; i < B; i++)
        for (ptrdiff_t j = 0; j < B; j++) U[i * B + j] = j < n && i <= j ? double(from[j * B + i]) : i == j;
    for (ptrdiff_t k = 0; k < n; k++) {
        if (!(U[k * B + k] > 0)) return false;  // nor NaN
        const double by = 1 / std::sqrt(U[k * B + k]);
        for (ptrdiff_t j = k; j < B; j++) U[k * B + j] *= by;
        for (ptrdiff_t i = k + 1; i < n; i++) {
            const double times = U[k * B + i];
            for (ptrdiff_t j = i / 8 * 8; j < B; j++) U[i * B + j] -= times * U[k * B + j];
        }
    }
    double rows[B * B] = {};  // of the inverse, from the last
    for (ptrdiff_t i = n - 1; i >= 0; i--) {
        double* row = rows + i * B;
        row[i] = 1;
        for (ptrdiff_t k = i + 1; k < n; k++) {
            const double times = U[i * B + k];
            for (ptrdiff_t j = 0; j < B; j++) row[j] -= times * rows[k * B + j];
        }
        const double by = 1 / U[i * B + i];
        for (ptrdiff_t j = 0; j < B; j++) row[j] *= by;
    }
    for (ptrdiff_t i = 0; i < B * B; i++) inverse[i] = T(rows[i]);
    return true;
}

// The lower triangle of L (P, P) = that of (H + more) with rows and columns times their scale, and `diagonal` on it. L
// may be H.
template <class T>
void scaled_triangle(const T* H, const double* more, const double* scale, double diagonal, ptrdiff_t P, T* L) {
    for (ptrdiff_t i = 0; i < P; i++) {
        const T* a = H + i * P;
        const double *b = more + i * P, by = scale[i];
        T* row = L + i * P;
        for (ptrdiff_t j = 0; j < i; j++) row[j] = T((a[j] + b[j]) * by * scale[j]);
        row[i] = T(diagonal);
    }
}

// L (P, P), whose lower triangle is that of a matrix, becomes its factor; false if it has none. Block columns from the
// left: what those before take off is one product, and dividing by the factor of the diagonal block another.
template <class T> bool factor(ptrdiff_t P, T* L) {
    constexpr ptrdiff_t B = TRIANGLE_BLOCK, W = panel_width<T>();
    static_assert(B % W == 0, "blocks are whole panels");
    const std::unique_ptr<T[]> room(new T[2 * P * B + B * B]);
    T *right = room.get(), *here = right + P * B, *inverse = here + P * B;
    double U[B * B];
    for (ptrdiff_t j = 0; j < P; j += B) {
        const ptrdiff_t n = P - j < B ? P - j : B, rows = P - j;
        for (ptrdiff_t i = 0; i < rows; i++) {
            const T* from = L + (j + i) * P + j;
            const ptrdiff_t known = i < n ? i + 1 : n;
            for (ptrdiff_t k = 0; k < known; k++) here[i * B + k] = from[k];
            for (ptrdiff_t k = known; k < n; k++) here[i * B + k] = 0;
        }
        if (j) {
            pack_columns(L + j * P, P, j, n, right);
            for (ptrdiff_t i = 0; i < (n + W - 1) / W * W * j; i++) right[i] = -right[i];
            matmul<T>({rows, n, j, L + j * P, P, 1, right, W, W * j, true, here, B, true});
        }
        if (!factor_block(here, n, U, inverse)) return false;
        for (ptrdiff_t i = 0; i < n; i++)
            for (ptrdiff_t k = 0; k <= i; k++) L[(j + i) * P + j + k] = T(U[k * B + i]);
        if (rows > n)
            matmul<T>({rows - n, n, n, here + n * B, B, 1, inverse, B, W, false, L + (j + n) * P + j, P, false});
    }
    return true;
}

}  // namespace XENT_NAMESPACE
