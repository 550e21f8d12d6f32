// Matrix products for tiles that lie in the cache. One kernel serves all three products of a linear layer: the left
// factor is read one number at a time (any strides), the right one and the result in vectors along their rows. Nothing
// is packed here; the callers choose tiles for which that costs nothing.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

// Rows x vectors of the result that stay in registers: 12 x 2 of 32, 6 x 2 of 16.
#if defined(__AVX512F__)
constexpr int MR = 12;
#elif defined(__AVX2__)
constexpr int MR = 6;
#elif defined(__aarch64__)
constexpr int MR = 8;
#else
constexpr int MR = 4;
#endif
constexpr int NV = 2;

// Longest stretch of the summed axis taken at once, so that the right factor's panel stays in the second-level cache.
constexpr ptrdiff_t DEPTH = 512;

template <class T> constexpr ptrdiff_t panel_width() { return NV * Vec<T>::width; }

// Where the last vector of a block ends: with the matrix, beyond the rows of C, or beyond those of B and C both.
enum Edge { EVEN, TAIL_C, TAIL_BC };

// R x (vectors of `columns`, at most NV of them) of C.
template <class T, int R, int VECTORS, Edge EDGE>
XENT_INLINE void block(ptrdiff_t L, const T* A, ptrdiff_t ai, ptrdiff_t al, const T* B, ptrdiff_t ldb, T* C,
                       ptrdiff_t ldc, bool accumulate, ptrdiff_t columns) {
    constexpr int W = Vec<T>::width;
    const ptrdiff_t last = columns - (VECTORS - 1) * W;  // lanes of the last vector
    V<T> acc[R][VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            if (!accumulate) acc[i][v] = V<T>{};
            else if (EDGE != EVEN && v == VECTORS - 1) acc[i][v] = load_some(C + i * ldc + v * W, last, T(0));
            else acc[i][v] = load(C + i * ldc + v * W);
        }
    for (ptrdiff_t l = 0; l < L; l++) {
        V<T> b[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            b[v] = EDGE == TAIL_BC && v == VECTORS - 1 ? load_some(B + l * ldb + v * W, last, T(0))
                                                       : load(B + l * ldb + v * W);
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) {
            const V<T> a = splat(A[i * ai + l * al]);
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) acc[i][v] += a * b[v];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; i++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            if (EDGE != EVEN && v == VECTORS - 1) store_some(C + i * ldc + v * W, acc[i][v], last);
            else store(C + i * ldc + v * W, acc[i][v]);
        }
}

// All rows of one column panel: full blocks of MR rows, then one block of what is left.
template <class T, int R, int VECTORS, Edge EDGE>
void left_over(ptrdiff_t rows, ptrdiff_t L, const T* A, ptrdiff_t ai, ptrdiff_t al, const T* B, ptrdiff_t ldb, T* C,
               ptrdiff_t ldc, bool accumulate, ptrdiff_t columns) {
    if constexpr (R > 0) {
        if (rows == R) block<T, R, VECTORS, EDGE>(L, A, ai, al, B, ldb, C, ldc, accumulate, columns);
        else left_over<T, R - 1, VECTORS, EDGE>(rows, L, A, ai, al, B, ldb, C, ldc, accumulate, columns);
    }
}

template <class T, int VECTORS, Edge EDGE>
void column_panel(ptrdiff_t M, ptrdiff_t L, const T* A, ptrdiff_t ai, ptrdiff_t al, const T* B, ptrdiff_t ldb, T* C,
                  ptrdiff_t ldc, bool accumulate, ptrdiff_t columns) {
    ptrdiff_t i = 0;
    for (; i + MR <= M; i += MR)
        block<T, MR, VECTORS, EDGE>(L, A + i * ai, ai, al, B, ldb, C + i * ldc, ldc, accumulate, columns);
    if (i < M)
        left_over<T, MR - 1, VECTORS, EDGE>(M - i, L, A + i * ai, ai, al, B, ldb, C + i * ldc, ldc, accumulate,
                                            columns);
}

template <class T>
void matmul(ptrdiff_t M, ptrdiff_t N, ptrdiff_t L, const T* A, ptrdiff_t ai, ptrdiff_t al, const T* B, ptrdiff_t ldb,
            T* C, ptrdiff_t ldc, bool accumulate) {
    constexpr ptrdiff_t W = Vec<T>::width, P = NV * W;
    if (L == 0 && !accumulate)
        for (ptrdiff_t i = 0; i < M; i++) std::memset(C + i * ldc, 0, N * sizeof(T));
    for (ptrdiff_t l = 0; l < L; l += DEPTH) {
        const ptrdiff_t depth = L - l < DEPTH ? L - l : DEPTH;
        const T* a = A + l * al;
        const T* b = B + l * ldb;
        const bool add = accumulate || l > 0;
        ptrdiff_t j = 0;
        for (; j + P <= N; j += P) column_panel<T, NV, EVEN>(M, depth, a, ai, al, b + j, ldb, C + j, ldc, add, P);
        const ptrdiff_t left = N - j;
        if (left > W) column_panel<T, NV, TAIL_BC>(M, depth, a, ai, al, b + j, ldb, C + j, ldc, add, left);
        else if (left > 0) column_panel<T, 1, TAIL_BC>(M, depth, a, ai, al, b + j, ldb, C + j, ldc, add, left);
    }
}

template <class T>
void pack(const T* w, ptrdiff_t K, ptrdiff_t D, T* packed, ptrdiff_t first_panel, ptrdiff_t last_panel) {
    constexpr ptrdiff_t P = panel_width<T>();
    for (ptrdiff_t panel = first_panel; panel < last_panel; panel++) {
        T* out = packed + panel * P * D;
        const ptrdiff_t k0 = panel * P, n = K - k0 < P ? K - k0 : P;
        for (ptrdiff_t d = 0; d < D; d++) {
            for (ptrdiff_t k = 0; k < n; k++) out[d * P + k] = w[(k0 + k) * D + d];
            for (ptrdiff_t k = n; k < P; k++) out[d * P + k] = 0;
        }
    }
}

template <class T>
void logits(const T* x, const T* packed, const T* bias, T* z, ptrdiff_t D, ptrdiff_t K, ptrdiff_t begin,
            ptrdiff_t end) {
    constexpr ptrdiff_t W = Vec<T>::width, P = panel_width<T>();
    const ptrdiff_t rows = end - begin;
    if (bias)
        for (ptrdiff_t i = 0; i < rows; i++) std::memcpy(z + i * K, bias, K * sizeof(T));
    for (ptrdiff_t k = 0; k < K; k += P) {
        const ptrdiff_t n = K - k < P ? K - k : P;
        for (ptrdiff_t d = 0; d < D || d == 0; d += DEPTH) {
            const ptrdiff_t depth = D - d < DEPTH ? D - d : DEPTH;
            const T* a = x + begin * D + d;
            const T* b = packed + (k * D + d * P);
            const bool add = bias || d > 0;
            if (n == P) column_panel<T, NV, EVEN>(rows, depth, a, D, 1, b, P, z + k, K, add, n);
            else if (n > W) column_panel<T, NV, TAIL_C>(rows, depth, a, D, 1, b, P, z + k, K, add, n);
            else column_panel<T, 1, TAIL_C>(rows, depth, a, D, 1, b, P, z + k, K, add, n);
        }
    }
}

}  // namespace XENT_NAMESPACE
