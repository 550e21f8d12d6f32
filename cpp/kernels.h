// What a level offers: single-threaded functions over rows [begin, end), or over one block. They keep no state.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xent {

// Where a row's target is. Hard: label[i] in [0, K). Soft: probs[i * K + j]. A label of -1 marks a row to leave out,
// for soft targets too (label may be null there: every row counts).
template <class T> struct Target {
    const int64_t* label;
    const T* probs;
};

// Four numbers a row, in float64: the maximum m of the logits a, and measured from it
//   s = log sum_j exp(a_j - m),   t = sum_j q_j (a_j - m),   u = sum_j (a_j - m).
// s >= 0 >= t, so that the cross-entropy s - t adds where log-sum-exp minus logit would cancel.
struct Stats {
    double *m, *s, *t, *u;  // u null where no one asks
};

// The slopes of a row's loss in (s, t, u): one triple a row, or one for all (stride 0) times a weight a row.
struct Slopes {
    const double *s, *t, *u;
    ptrdiff_t stride;
    const double* weight;  // null: 1
};

// Logits in half precision, as their bits; all arithmetic on them is in float.
struct Bf16 {
    uint16_t bits;
};
struct F16 {
    uint16_t bits;
};

// The operations on logits stored as S and computed in T. T is S but for half precisions.
template <class S, class T> struct RowKernels {
    void (*row_stats)(const S* a, Target<T> q, Stats out, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end);
    void (*row_grad)(const S* a, Target<T> q, Stats in, Slopes slopes, S* da, ptrdiff_t K, ptrdiff_t begin,
                     ptrdiff_t end);
    // Both in one pass, for losses whose slopes do not depend on the row: the sum of weight * slope . (s, t, u), and each
    // row's, not weighted, in `loss`. loss may be null, and da, for the loss alone. da may be a. `past`: the gradient is
    // not read again soon, and goes past the caches (da is not a then). `room`: room_for(K) bytes on a boundary of 64.
    double (*row_fused)(const S* a, Target<T> q, Slopes slopes, double* loss, S* da, bool past, void* room, ptrdiff_t K,
                        ptrdiff_t begin, ptrdiff_t end);
};

constexpr ptrdiff_t BUFFER_BYTES = 32768;
constexpr ptrdiff_t waiting_for(ptrdiff_t K) { return (K < 32768 ? K : 32768) * 8; }
constexpr ptrdiff_t room_for(ptrdiff_t K) { return BUFFER_BYTES + waiting_for(K) + K * 8 + 64; }

template <class T> struct Kernels : RowKernels<T, T> {
    // C (M x N, row stride ldc) = [C +] A B with A(i, l) = A[i * ai + l * al] and B (L x N, row stride ldb).
    void (*matmul)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t L, const T* A, ptrdiff_t ai, ptrdiff_t al, const T* B,
                   ptrdiff_t ldb, T* C, ptrdiff_t ldc, bool accumulate);
    // W (K x D) as panels of `panel` classes, each D x panel, the last filled with zeros.
    void (*pack)(const T* w, ptrdiff_t K, ptrdiff_t D, T* packed, ptrdiff_t first_panel, ptrdiff_t last_panel);
    // Logits of rows [begin, end) from packed weights: z (end - begin, K).
    void (*logits)(const T* x, const T* packed, const T* bias, T* z, ptrdiff_t D, ptrdiff_t K, ptrdiff_t begin,
                   ptrdiff_t end);
    int panel;
};

struct Level {
    const char* name;
    const Kernels<float>* f32;
    const Kernels<double>* f64;
    const RowKernels<Bf16, float>* bf16;
    const RowKernels<F16, float>* f16;
    // The largest of n labels; the lowest number for none.
    int64_t (*largest)(const int64_t* label, ptrdiff_t n);
};

}  // namespace xent
