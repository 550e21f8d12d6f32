// Sparse rows times dense weights and back. Weights and their gradient are kept by columns: what a nonzero touches lies
// side by side, and is read and written in vectors over the classes.
#pragma once

#include <limits>
#include <type_traits>

#include "kernels.h"
#include "vec.h"

namespace XENT_NAMESPACE {

using xent::Columns;
using xent::Csr;
using xent::Kept;
using xent::Split;

// L numbers side by side. The compiler cuts them into the vectors that the level has.
template <class T, int L> struct Lanes {
    typedef T type __attribute__((vector_size(L * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <class T> struct Lanes<T, 1> {
    typedef T type;
};

// Numbers in a cache line: wider rows of weights are cut into vectors of that length, up to four at a time.
template <class T> constexpr int line() { return 64 / sizeof(T); }
constexpr int WIDE = 4;

// x comes from memory in order, and what its nonzeros touch from the second-level cache or beyond, in none. The
// hardware fetches ahead of neither well enough: x is asked for AHEAD nonzeros before it is read, a page's worth, and
// from half a line on what a nonzero touches too. Of narrower weights a line serves several nonzeros, and asking costs
// as much as reading.
constexpr ptrdiff_t AHEAD_OF_X = 512, STEP = 16;
template <class T, int L> constexpr bool fetches() { return L * sizeof(T) >= 32; }
template <int NV> constexpr ptrdiff_t far_ahead() { return 32 / NV; }

template <class T, class I> XENT_INLINE void fetch_step(const I* column, const T* value) {
    for (ptrdiff_t j = 0; j < STEP; j += 64 / ptrdiff_t(sizeof(I))) __builtin_prefetch(column + AHEAD_OF_X + j);
    for (ptrdiff_t j = 0; j < STEP; j += 64 / ptrdiff_t(sizeof(T))) __builtin_prefetch(value + AHEAD_OF_X + j);
}

// How far ahead nonzeros are known: 0 where the matrix ends before. `left`: those from this row's first on.
template <int NV> XENT_INLINE ptrdiff_t far_of(ptrdiff_t n, ptrdiff_t left) {
    return n + far_ahead<NV>() <= left ? far_ahead<NV>() : 0;
}

// U nonzeros of a row, each to sums of its own.
template <class T, class I, int L, int NV, int U>
XENT_INLINE void add_products(const I* column, const T* value, ptrdiff_t far, const T* w, ptrdiff_t stride,
                              typename Lanes<T, L>::type (*sum)[NV]) {
    typedef typename Lanes<T, L>::type Vector;
#pragma GCC unroll 8
    for (int u = 0; u < U; u++) {
        const T* at = w + ptrdiff_t(column[u]) * stride;
        if constexpr (fetches<T, L>()) {
            const T* next = w + ptrdiff_t(column[u + far]) * stride;
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) __builtin_prefetch(next + v * L);
        }
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) sum[u][v] += value[u] * *(const Vector*)(at + v * L);
    }
}

// z = bias + sum_p value_p w[column_p], in NV vectors of L lanes. Sums side by side hide the latency of each.
template <class T, class I, int L, int NV>
XENT_INLINE void gather_row(const I* column, const T* value, ptrdiff_t n, ptrdiff_t far, const T* w, ptrdiff_t stride,
                            const T* bias, T* z) {
    typedef typename Lanes<T, L>::type Vector;
    constexpr int U = L == 1 ? 8 : NV == 1 ? 4 : NV == 2 ? 2 : 1;
    Vector sum[U][NV];
    for (int u = 0; u < U; u++)
        for (int v = 0; v < NV; v++) sum[u][v] = Vector{};
    if (bias)
        for (int v = 0; v < NV; v++) sum[0][v] = *(const Vector*)(bias + v * L);
    ptrdiff_t p = 0;
    for (; p + STEP <= n; p += STEP) {
        fetch_step(column + p, value + p);
#pragma GCC unroll 2
        for (ptrdiff_t q = p; q < p + STEP; q += U)
            add_products<T, I, L, NV, U>(column + q, value + q, far, w, stride, sum);
    }
    if (p < n) fetch_step(column + p, value + p);
    for (; p + U <= n; p += U) add_products<T, I, L, NV, U>(column + p, value + p, far, w, stride, sum);
    for (; p < n; p++) add_products<T, I, L, NV, 1>(column + p, value + p, far, w, stride, sum);
    for (int u = 1; u < U; u++)
        for (int v = 0; v < NV; v++) sum[0][v] += sum[u][v];
    for (int v = 0; v < NV; v++) *(Vector*)(z + v * L) = sum[0][v];
}

// dw[column_p] += value_p r. The products of some nonzeros come before their sums, which wait for each other where they
// may meet in a column.
template <class T, class I, int L, int NV, int U>
XENT_INLINE void scatter_some(const I* column, const T* value, ptrdiff_t far, const typename Lanes<T, L>::type* r,
                              T* dw, ptrdiff_t stride) {
    typedef typename Lanes<T, L>::type Vector;
    Vector g[U][NV];
#pragma GCC unroll 8
    for (int u = 0; u < U; u++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) g[u][v] = value[u] * r[v];
#pragma GCC unroll 8
    for (int u = 0; u < U; u++) {
        T* at = dw + ptrdiff_t(column[u]) * stride;
        if constexpr (fetches<T, L>()) {
            const T* next = dw + ptrdiff_t(column[u + far]) * stride;
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) __builtin_prefetch(next + v * L, 1);
        }
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) *(Vector*)(at + v * L) += g[u][v];
    }
}

template <class T, class I, int L, int NV>
XENT_INLINE void scatter_row(const I* column, const T* value, ptrdiff_t n, ptrdiff_t far, const T* r, T* dw,
                             ptrdiff_t stride) {
    typedef typename Lanes<T, L>::type Vector;
    constexpr int U = L == 1 ? 8 : 1;
    Vector g[NV];
    for (int v = 0; v < NV; v++) g[v] = *(const Vector*)(r + v * L);
    ptrdiff_t p = 0;
    for (; p + U <= n; p += U) scatter_some<T, I, L, NV, U>(column + p, value + p, far, g, dw, stride);
    for (; p < n; p++) scatter_some<T, I, L, NV, 1>(column + p, value + p, far, g, dw, stride);
}

// A row of more than WIDE vectors in panels of WIDE; NV are left for the last one. `left`: nonzeros of the matrix from
// this row's first.
template <class T, class I, int L, int NV>
XENT_INLINE void scatter_panels(const I* column, const T* value, ptrdiff_t n, ptrdiff_t left, const T* r,
                                Columns<T> dw) {
    ptrdiff_t lane = 0;
    for (; lane + NV * L < dw.lanes; lane += WIDE * L)
        scatter_row<T, I, L, WIDE>(column, value, n, far_of<WIDE>(n, left), r + lane, dw.data + lane, dw.stride);
    scatter_row<T, I, L, NV>(column, value, n, far_of<NV>(n, left), r + lane, dw.data + lane, dw.stride);
}

XENT_INLINE bool left_out(Kept kept, ptrdiff_t i) {
    return (kept.label && kept.label[i] < 0) || (kept.weight && kept.weight[i] == 0);
}

// The first of the rows that does not lie within the matrix, or -1.
template <class T, class I> XENT_INLINE ptrdiff_t first_outside(const Csr<T, I>& x, ptrdiff_t begin, ptrdiff_t end) {
    typedef typename std::make_unsigned<I>::type Unsigned;
    auto outside = [&](int64_t from, int64_t to) {
        if (from < 0 || from > to || to > x.nonzeros) return true;
        Unsigned largest = 0;  // a negative number becomes a large one
        for (int64_t p = from; p < to; p++) {
            const Unsigned c = Unsigned(x.column[p]);
            largest = c > largest ? c : largest;
        }
        return from < to && uint64_t(largest) >= uint64_t(x.D);
    };
    bool rises = true;
    for (ptrdiff_t i = begin; i < end; i++) rises &= x.start[i] <= x.start[i + 1];
    if (rises && !outside(x.start[begin], x.start[end])) return -1;  // all rows at once
    for (ptrdiff_t i = begin; i < end; i++)
        if (outside(x.start[i], x.start[i + 1])) return i;
    return -1;
}

// Checks rows from `checked` on, which moves behind them: enough that it costs little, few enough that they stay in the
// first-level cache until they are used.
template <class T, class I> XENT_INLINE ptrdiff_t check_some(const Csr<T, I>& x, ptrdiff_t& checked, ptrdiff_t end) {
    constexpr int64_t SOME = 384;
    const ptrdiff_t begin = checked++;
    while (checked < end && x.start[checked] - x.start[begin] < SOME) checked++;
    return first_outside(x, begin, checked);
}

template <class T, class I, int L, int NV>
ptrdiff_t gather(const Csr<T, I>& x, Kept kept, Columns<const T> w, const T* bias, T* z, ptrdiff_t K, ptrdiff_t begin,
                 ptrdiff_t end) {
    for (ptrdiff_t i = begin, checked = begin; i < end; i++) {
        if (i == checked) {
            const ptrdiff_t bad = check_some(x, checked, end);
            if (bad >= 0) return bad;
        }
        T* row = z + (i - begin) * K;
        if (left_out(kept, i)) {
            std::memset(row, 0, K * sizeof(T));
            continue;
        }
        const I* column = x.column + x.start[i];
        const T* value = x.value + x.start[i];
        const ptrdiff_t n = x.start[i + 1] - x.start[i], left = x.nonzeros - x.start[i];
        ptrdiff_t lane = 0;
        for (; lane + NV * L < w.lanes; lane += WIDE * L)
            gather_row<T, I, L, WIDE>(column, value, n, far_of<WIDE>(n, left), w.data + lane, w.stride,
                                      bias ? bias + lane : bias, row + lane);
        gather_row<T, I, L, NV>(column, value, n, far_of<NV>(n, left), w.data + lane, w.stride,
                                bias ? bias + lane : bias, row + lane);
    }
    return -1;
}

template <class T, class I, int L, int NV>
void scatter(const Csr<T, I>& x, Kept kept, const T* r, ptrdiff_t K, Columns<T> dw, ptrdiff_t begin, ptrdiff_t end) {
    for (ptrdiff_t i = begin; i < end; i++)
        if (!left_out(kept, i))
            scatter_panels<T, I, L, NV>(x.column + x.start[i], x.value + x.start[i], x.start[i + 1] - x.start[i],
                                        x.nonzeros - x.start[i], r + (i - begin) * K, dw);
}

template <class T, class I, int L, int NV>
void scatter_block(const Csr<T, I>& x, Kept kept, const T* r, ptrdiff_t K, Columns<T> dw, Split split, ptrdiff_t block,
                   ptrdiff_t begin, ptrdiff_t end) {
    for (ptrdiff_t i = begin; i < end; i++) {
        if (left_out(kept, i)) continue;
        const I* column = x.column + x.start[i];
        const T* value = x.value + x.start[i];
        const T* row = r + (i - begin) * K;
        const uint32_t* at = split.at + (i - begin) * (split.blocks + 1);
        if (at[0] == 0) {
            const ptrdiff_t from = at[block];
            scatter_panels<T, I, L, NV>(column + from, value + from, at[block + 1] - from, 0, row, dw);
            continue;
        }
        for (ptrdiff_t p = 0, n = x.start[i + 1] - x.start[i]; p < n; p++)
            if (ptrdiff_t(column[p]) >> split.shift == block)
                scatter_panels<T, I, L, NV>(column + p, value + p, 1, 0, row, dw);
    }
}

template <class T, class I> void split_rows(const Csr<T, I>& x, Kept kept, Split out, ptrdiff_t begin, ptrdiff_t end) {
    for (ptrdiff_t i = begin; i < end; i++) {
        if (left_out(kept, i)) continue;
        uint32_t* at = out.at + (i - begin) * (out.blocks + 1);
        const I* column = x.column + x.start[i];
        const ptrdiff_t n = x.start[i + 1] - x.start[i];
        bool falls = false;
        for (ptrdiff_t p = 1; p < n; p++) falls |= column[p] < column[p - 1];
        for (ptrdiff_t b = 1; b <= out.blocks; b++) {
            // counting them all is done in vectors, and costs less than looking for the place
            const I bound = b < out.blocks ? I(b << out.shift) : std::numeric_limits<I>::max();
            uint32_t below = 0;
            for (ptrdiff_t p = 0; p < n; p++) below += column[p] < bound;
            at[b] = b < out.blocks ? below : uint32_t(n);
        }
        at[0] = falls;
    }
}

template <class T>
void to_columns(const T* w, ptrdiff_t K, ptrdiff_t D, T* out, ptrdiff_t stride, ptrdiff_t first, ptrdiff_t last) {
    constexpr ptrdiff_t STEP = 16;
    for (ptrdiff_t d = first; d < last; d += STEP) {
        const ptrdiff_t n = last - d < STEP ? last - d : STEP;
        if (K < stride) std::memset(out + d * stride, 0, n * stride * sizeof(T));
        for (ptrdiff_t k = 0; k < K; k++)
            for (ptrdiff_t j = 0; j < n; j++) out[(d + j) * stride + k] = w[k * D + d + j];
    }
}

// One weight a column, every STRIDE-th number of a part: whole vectors of columns.
template <class T, ptrdiff_t STRIDE>
void from_thin(const T* parts, ptrdiff_t count, ptrdiff_t size, T* dw, ptrdiff_t first, ptrdiff_t last) {
    constexpr ptrdiff_t STEP = 32;
    ptrdiff_t d = first;
    for (; d + STEP <= last; d += STEP) {
        double sum[STEP] = {};
        for (ptrdiff_t c = 0; c < count; c++) {
            const T* part = parts + c * size + d * STRIDE;
#pragma GCC ivdep
            for (ptrdiff_t j = 0; j < STEP; j++) sum[j] += part[j * STRIDE];
        }
        for (ptrdiff_t j = 0; j < STEP; j++) dw[d + j] = T(sum[j]);
    }
    for (; d < last; d++) {
        double sum = 0;
        for (ptrdiff_t c = 0; c < count; c++) sum += parts[c * size + d * STRIDE];
        dw[d] = T(sum);
    }
}

template <class T>
void from_columns(const T* parts, ptrdiff_t count, ptrdiff_t size, ptrdiff_t stride, T* dw, ptrdiff_t K, ptrdiff_t D,
                  ptrdiff_t first, ptrdiff_t last) {
    constexpr ptrdiff_t STEP = 16, MOST = 32;
    if (K == 1 && stride <= 2)
        return stride == 1 ? from_thin<T, 1>(parts, count, size, dw, first, last)
                           : from_thin<T, 2>(parts, count, size, dw, first, last);
    for (ptrdiff_t d = first; d < last; d += STEP) {
        const ptrdiff_t n = last - d < STEP ? last - d : STEP;
        for (ptrdiff_t k0 = 0; k0 < K; k0 += MOST) {  // classes lie side by side
            const ptrdiff_t some = K - k0 < MOST ? K - k0 : MOST;
            double sum[STEP * MOST] = {};
            for (ptrdiff_t c = 0; c < count; c++) {
                const T* part = parts + c * size + d * stride + k0;
                for (ptrdiff_t j = 0; j < n; j++)
                    for (ptrdiff_t k = 0; k < some; k++) sum[j * some + k] += part[j * stride + k];
            }
            for (ptrdiff_t k = 0; k < some; k++)
                for (ptrdiff_t j = 0; j < n; j++) dw[(k0 + k) * D + d + j] = T(sum[j * some + k]);
        }
    }
}

// The instance for a number of lanes: 1, 2, 4, 8, or whole lines.
template <class T, class I, int L, int NV> constexpr xent::SparseKernels<T, I> instance() {
    return {gather<T, I, L, NV>, scatter<T, I, L, NV>, scatter_block<T, I, L, NV>, split_rows<T, I>};
}

template <class T, class I> const xent::SparseKernels<T, I>& sparse_kernels(ptrdiff_t lanes) {
    constexpr int L = line<T>();
    static constexpr xent::SparseKernels<T, I> narrow[] = {instance<T, I, 1, 1>(), instance<T, I, 2, 1>(),
                                                           instance<T, I, 4, 1>(), instance<T, I, 8, 1>()};
    static constexpr xent::SparseKernels<T, I> wide[] = {instance<T, I, L, 1>(), instance<T, I, L, 2>(),
                                                         instance<T, I, L, 3>(), instance<T, I, L, 4>()};
    if (lanes < L) return narrow[lanes >= 8 ? 3 : lanes >= 4 ? 2 : lanes >= 2 ? 1 : 0];
    return wide[(lanes / L + 3) % 4];
}

}  // namespace XENT_NAMESPACE
