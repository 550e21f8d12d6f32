// Matrix products for operands that lie in the cache, or stream through it. One kernel serves all three products of a
// linear layer: the left factor is read one number at a time (any strides), the right one and the result in vectors
// along their rows. What decides the speed beyond that is where the next lines come from, so a product may fetch
// ahead: its own lines of C, and any other memory that the next step will need.
#pragma once

#include <utility>

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

using xent::Ahead;
using xent::Product;

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
constexpr ptrdiff_t LINE = 64;

// Longest stretch of the summed axis taken at once, so that the right factor's panel stays in the second-level cache.
constexpr ptrdiff_t DEPTH = 512;

template <class T> constexpr ptrdiff_t panel_width() { return NV * Vec<T>::width; }

// Where the last vector of a block ends: with the matrix, beyond the rows of C, or beyond those of B and C both.
enum Edge { EVEN, TAIL_C, TAIL_BC };

// R x VECTORS of C, of `columns` columns. Its lines are fetched while the sums are made and added to last. Every row
// begins with `start`, unless null.
template <class T, int R, int VECTORS, Edge EDGE>
XENT_INLINE void block(ptrdiff_t L, const T* A, ptrdiff_t ai, ptrdiff_t al, const T* B, ptrdiff_t ldb, T* C,
                       ptrdiff_t ldc, bool add, const T* start, ptrdiff_t columns, Ahead& ahead) {
    constexpr int W = Vec<T>::width;
    const ptrdiff_t last = columns - (VECTORS - 1) * W;  // lanes of the last vector
    const ptrdiff_t step = ahead.at < ahead.end ? LINE : 0, skip = step ? ahead.skip : 0;
    const char* next = step ? ahead.at : (const char*)A;
    const T* a[(R + 2) / 3];  // every third row: the others are one and two strides away, which addresses can say
#pragma GCC unroll 16
    for (int i = 0; i < (R + 2) / 3; i++) a[i] = A + 3 * i * ai;
    V<T> acc[R][VECTORS];
#pragma GCC unroll 16
    for (int i = 0; i < R; i++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            __builtin_prefetch(C + i * ldc + v * W, 1);
            acc[i][v] = V<T>{};
        }
    if (start)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            const bool tail = EDGE != EVEN && v == VECTORS - 1;
            const V<T> first = tail ? load_some(start + v * W, last, T(0)) : load(start + v * W);
#pragma GCC unroll 16
            for (int i = 0; i < R; i++) acc[i][v] = first;
        }
    for (ptrdiff_t l = 0; l < L; l++, next += step) {
        __builtin_prefetch(next, 0, 2);
        __builtin_prefetch(next + skip, 0, 2);
        V<T> b[VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++)
            b[v] = EDGE == TAIL_BC && v == VECTORS - 1 ? load_some(B + l * ldb + v * W, last, T(0))
                                                       : load(B + l * ldb + v * W);
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) {
            const V<T> number = splat(a[i / 3][i % 3 * ai]);
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) acc[i][v] += number * b[v];
        }
#pragma GCC unroll 16
        for (int i = 0; i < (R + 2) / 3; i++) a[i] += al;
    }
    if (step) ahead.at = next;
#pragma GCC unroll 16
    for (int i = 0; i < R; i++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            T* c = C + i * ldc + v * W;
            const bool tail = EDGE != EVEN && v == VECTORS - 1;
            if (add) acc[i][v] += tail ? load_some(c, last, T(0)) : load(c);
            if (tail) store_some(c, acc[i][v], last);
            else store(c, acc[i][v]);
        }
}

// Rows [i, i + R) and the columns of one panel, over depth [l, l + L).
template <class T, int R>
XENT_INLINE void panel_block(const Product<T>& p, ptrdiff_t i, ptrdiff_t j, ptrdiff_t l, ptrdiff_t L, Ahead& ahead) {
    constexpr ptrdiff_t W = Vec<T>::width, P = panel_width<T>();
    const T* a = p.a + i * p.a_row + l * p.a_step;
    const T* b = p.b + j / P * p.b_panel + l * p.b_step;
    T* c = p.c + i * p.c_row + j;
    const bool add = p.add || l > 0;
    const T* start = p.start && !add ? p.start + j : nullptr;
    const ptrdiff_t n = p.columns - j;
    if (n >= P) block<T, R, NV, EVEN>(L, a, p.a_row, p.a_step, b, p.b_step, c, p.c_row, add, start, P, ahead);
    else if (n > W && p.padded)
        block<T, R, NV, TAIL_C>(L, a, p.a_row, p.a_step, b, p.b_step, c, p.c_row, add, start, n, ahead);
    else if (n > W) block<T, R, NV, TAIL_BC>(L, a, p.a_row, p.a_step, b, p.b_step, c, p.c_row, add, start, n, ahead);
    else if (p.padded) block<T, R, 1, TAIL_C>(L, a, p.a_row, p.a_step, b, p.b_step, c, p.c_row, add, start, n, ahead);
    else block<T, R, 1, TAIL_BC>(L, a, p.a_row, p.a_step, b, p.b_step, c, p.c_row, add, start, n, ahead);
}

template <class T, int R>
void left_over(ptrdiff_t rows, const Product<T>& p, ptrdiff_t i, ptrdiff_t j, ptrdiff_t l, ptrdiff_t L, Ahead& ahead) {
    if constexpr (R > 0) {
        if (rows == R) panel_block<T, R>(p, i, j, l, L, ahead);
        else left_over<T, R - 1>(rows, p, i, j, l, L, ahead);
    }
}

// Few rows of C leave registers for more of its columns: fewer chains of sums than that wait for themselves, and each
// row of B is read in one stretch.
template <int R> constexpr int most_vectors() {
    return MR >= 8 ? (R <= 2 ? 8 : 4) : (R <= 2 ? 4 : NV);
}
constexpr int FEW_ROWS = MR >= 8 ? 6 : 2;

template <class T, int R, int VECTORS>
void last_vectors(const Product<T>& p, ptrdiff_t j, ptrdiff_t l, ptrdiff_t L, const T* start, Ahead& ahead) {
    if constexpr (VECTORS > 0) {
        const ptrdiff_t n = p.columns - j;
        if (n <= (VECTORS - 1) * Vec<T>::width) return last_vectors<T, R, VECTORS - 1>(p, j, l, L, start, ahead);
        block<T, R, VECTORS, TAIL_BC>(L, p.a + l * p.a_step, p.a_row, p.a_step, p.b + j + l * p.b_step, p.b_step,
                                      p.c + j, p.c_row, p.add || l > 0, start, n, ahead);
    }
}

// All rows of C at once, B a plain matrix.
template <class T, int R> void few_rows(const Product<T>& p, ptrdiff_t l, ptrdiff_t L, Ahead& ahead) {
    if constexpr (R > 0) {
        if (p.rows < R) return few_rows<T, R - 1>(p, l, L, ahead);
        constexpr int VECTORS = most_vectors<R>();
        constexpr ptrdiff_t wide = VECTORS * Vec<T>::width;
        for (ptrdiff_t j = 0; j < p.columns; j += wide) {
            const T* start = p.start && !p.add && l == 0 ? p.start + j : nullptr;
            if (j + wide > p.columns) last_vectors<T, R, VECTORS>(p, j, l, L, start, ahead);
            else
                block<T, R, VECTORS, EVEN>(L, p.a + l * p.a_step, p.a_row, p.a_step, p.b + j + l * p.b_step, p.b_step,
                                           p.c + j, p.c_row, p.add || l > 0, start, wide, ahead);
        }
    }
}

// C = A B of so few rows of B that they stay in registers: row after row of C is written in one stretch.
template <class T, int L, int VECTORS>
XENT_INLINE void shallow_columns(const Product<T>& p, ptrdiff_t j, ptrdiff_t columns) {
    constexpr int W = Vec<T>::width;
    const ptrdiff_t last = columns - (VECTORS - 1) * W;
    V<T> b[L][VECTORS];
#pragma GCC unroll 16
    for (int l = 0; l < L; l++)
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS; v++)
            b[l][v] = v == VECTORS - 1 ? load_some(p.b + l * p.b_step + j + v * W, last, T(0))
                                       : load(p.b + l * p.b_step + j + v * W);
    for (ptrdiff_t i = 0; i < p.rows; i++) {
        const T* a = p.a + i * p.a_row;
        T* c = p.c + i * p.c_row + j;
        V<T> acc[VECTORS];
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS; v++) acc[v] = splat(a[0]) * b[0][v];
#pragma GCC unroll 16
        for (int l = 1; l < L; l++)
#pragma GCC unroll 16
            for (int v = 0; v < VECTORS; v++) acc[v] += splat(a[l * p.a_step]) * b[l][v];
#pragma GCC unroll 16
        for (int v = 0; v < VECTORS - 1; v++) store(c + v * W, acc[v]);
        if (last == W) store(c + (VECTORS - 1) * W, acc[VECTORS - 1]);
        else store_some(c + (VECTORS - 1) * W, acc[VECTORS - 1], last);
    }
}

constexpr int SHALLOW = MR >= 8 ? 4 : 2;
constexpr int shallow_vectors(int depth) { return MR < 8 ? 4 : depth <= 2 ? 8 : 4; }

template <class T, int L, int VECTORS> void shallow_strip(const Product<T>& p, ptrdiff_t j, ptrdiff_t n) {
    if constexpr (VECTORS > 0) {
        if (n <= (VECTORS - 1) * Vec<T>::width) return shallow_strip<T, L, VECTORS - 1>(p, j, n);
        shallow_columns<T, L, VECTORS>(p, j, n);
    }
}

template <class T, int L> void shallow(const Product<T>& p) {
    if constexpr (L > 0) {
        if (p.depth < L) return shallow<T, L - 1>(p);
        constexpr ptrdiff_t wide = shallow_vectors(L) * Vec<T>::width;
        for (ptrdiff_t j = 0; j < p.columns; j += wide)
            shallow_strip<T, L, shallow_vectors(L)>(p, j, p.columns - j < wide ? p.columns - j : wide);
    }
}

template <class T> void matmul(const Product<T>& p) {
    constexpr ptrdiff_t P = panel_width<T>();
    if (p.depth == 0 && !p.add)
        for (ptrdiff_t i = 0; i < p.rows; i++)
            if (p.start) std::memcpy(p.c + i * p.c_row, p.start, p.columns * sizeof(T));
            else std::memset(p.c + i * p.c_row, 0, p.columns * sizeof(T));
    if (p.depth <= SHALLOW && p.b_panel == P && !p.add && !p.start && !p.ahead.at) return shallow<T, SHALLOW>(p);
    Ahead ahead = p.ahead;
    auto at = [&](ptrdiff_t i, ptrdiff_t j, ptrdiff_t l, ptrdiff_t L) {
        if (i + MR <= p.rows) panel_block<T, MR>(p, i, j, l, L, ahead);
        else left_over<T, MR - 1>(p.rows - i, p, i, j, l, L, ahead);
    };
    for (ptrdiff_t l = 0; l < p.depth; l += DEPTH) {
        const ptrdiff_t L = p.depth - l < DEPTH ? p.depth - l : DEPTH;
        if (p.rows <= FEW_ROWS && p.b_panel == P) {
            few_rows<T, FEW_ROWS>(p, l, L, ahead);
        } else if (p.by_rows) {
            for (ptrdiff_t i = 0; i < p.rows; i += MR)
                for (ptrdiff_t j = 0; j < p.columns; j += P) at(i, j, l, L);
        } else {
            for (ptrdiff_t j = 0; j < p.columns; j += P)
                for (ptrdiff_t i = 0; i < p.rows; i += MR) at(i, j, l, L);
        }
    }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define XENT_SHUFFLES
#endif
#endif

// Lane k of a where bit S of k is not set, else lane k - S of b; the other one has the lanes left over, k + S of a and
// k of b. As one instruction where the compiler has a word for it.
template <class T, int S, bool HIGH, size_t... k> XENT_INLINE V<T> woven(V<T> a, V<T> b, std::index_sequence<k...>) {
    constexpr size_t W = Vec<T>::width;
#ifdef XENT_SHUFFLES
    return __builtin_shufflevector(a, b, (HIGH ? (k & S ? W + k : k + S) : (k & S ? W + k - S : k))...);
#else
    return V<T>{(HIGH ? (k & S ? b[k] : a[(k + S) % W]) : (k & S ? b[(k - S) % W] : a[k]))...};
#endif
}

template <class T, int S, bool HIGH> XENT_INLINE V<T> weave(V<T> a, V<T> b) {
    return woven<T, S, HIGH>(a, b, std::make_index_sequence<Vec<T>::width>());
}

// A square of W x W numbers, W vectors, turned over.
template <class T, int S> XENT_INLINE void exchange(V<T>* v) {
    constexpr int W = Vec<T>::width;
    if constexpr (S < W) {
#pragma GCC unroll 16
        for (int i = 0; i < W; i++)
            if (!(i & S)) {
                const V<T> low = weave<T, S, false>(v[i], v[i | S]), high = weave<T, S, true>(v[i], v[i | S]);
                v[i] = low;
                v[i | S] = high;
            }
        exchange<T, 2 * S>(v);
    }
}

// to (columns x rows) = from (rows x columns) turned over.
template <class T>
void transpose(const T* from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t columns, T* to, ptrdiff_t ldt) {
    constexpr ptrdiff_t W = Vec<T>::width;
    for (ptrdiff_t i = 0; i < rows; i += W)
        for (ptrdiff_t j = 0; j < columns; j += W) {
            if (i + W <= rows && j + W <= columns) {
                V<T> v[W];
#pragma GCC unroll 16
                for (int k = 0; k < W; k++) v[k] = load(from + (i + k) * ld + j);
                exchange<T, 1>(v);
#pragma GCC unroll 16
                for (int k = 0; k < W; k++) store(to + (j + k) * ldt + i, v[k]);
            } else {
                for (ptrdiff_t a = i; a < rows && a < i + W; a++)
                    for (ptrdiff_t b = j; b < columns && b < j + W; b++) to[b * ldt + a] = from[a * ld + b];
            }
        }
}

// The right factor as panels of P columns, each rows x P, the last filled with zeros: from (rows x columns) as it lies,
template <class T> void pack_rows(const T* from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t columns, T* packed) {
    constexpr ptrdiff_t W = Vec<T>::width, P = panel_width<T>();
    const ptrdiff_t whole = columns / P * P;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const T* row = from + i * ld;
        T* out = packed + i * P;
        for (ptrdiff_t j = 0; j < whole; j += P, out += rows * P)
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++) store(out + v * W, load(row + j + v * W));
        for (ptrdiff_t j = whole; whole < columns && j < whole + P; j++) out[j - whole] = j < columns ? row[j] : T(0);
    }
}

// or turned over, from (columns x rows).
template <class T> void pack_columns(const T* from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t columns, T* packed) {
    constexpr ptrdiff_t P = panel_width<T>();
    for (ptrdiff_t j = 0; j < columns; j += P, packed += rows * P) {
        const ptrdiff_t n = columns - j < P ? columns - j : P;
        transpose(from + j * ld, ld, n, rows, packed, P);
        for (ptrdiff_t i = 0; n < P && i < rows; i++) std::memset(packed + i * P + n, 0, (P - n) * sizeof(T));
    }
}

// out[begin:end] = the sum of `parts` rows of n numbers, in float64 and in order.
template <class T> void sum_parts(const T* from, ptrdiff_t parts, ptrdiff_t n, T* out, ptrdiff_t begin, ptrdiff_t end) {
    constexpr ptrdiff_t S = 64;
    for (ptrdiff_t i = begin; i < end; i += S) {
        const ptrdiff_t stop = i + S < end ? i + S : end;
        double sum[S] = {};
        for (ptrdiff_t p = 0; p < parts; p++)
            for (ptrdiff_t k = i; k < stop; k++) sum[k - i] += from[p * n + k];
        for (ptrdiff_t k = i; k < stop; k++) out[k] = T(sum[k - i]);
    }
}

}  // namespace XENT_NAMESPACE
