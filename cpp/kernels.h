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

template <class T> struct Kernels {
    void (*row_stats)(const T* a, Target<T> q, Stats out, ptrdiff_t K, ptrdiff_t begin, ptrdiff_t end);
    void (*row_grad)(const T* a, Target<T> q, Stats in, Slopes slopes, T* da, ptrdiff_t K, ptrdiff_t begin,
                     ptrdiff_t end);
    // Both in one pass, for losses whose slopes do not depend on the row: loss[i] = slope . (s, t, u), unweighted.
    void (*row_fused)(const T* a, Target<T> q, Slopes slopes, double* loss, T* da, ptrdiff_t K, ptrdiff_t begin,
                      ptrdiff_t end);
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
};

}  // namespace xent
