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

// The second derivatives of a row's loss in s and t (u enters every formula linearly), one triple a row; null: 0.
struct Curvatures {
    const double *ss, *st, *tt;
};

// Rows as scipy's CSR holds them, start (N + 1) as int64; rows may be unsorted and name a column twice.
template <class T, class I> struct Csr {
    const int64_t* start;
    const I* column;
    const T* value;
    ptrdiff_t D;
    int64_t nonzeros;
};

// Which rows count: not a label of -1, not a weight of 0. Either may be null.
struct Kept {
    const int64_t* label;
    const double* weight;
};

// Weights or their gradient by columns: column d has `lanes` numbers at data + d * stride, the last of which only fill
// up.
template <class T> struct Columns {
    T* data;
    ptrdiff_t stride, lanes;
};

// Blocks of 2^shift columns. at (rows, blocks + 1): where they begin in each row, from the row's own beginning, of
// which the first is 0 in a sorted row and 1 in another.
struct Split {
    uint32_t* at;
    ptrdiff_t blocks;
    int shift;
};

// Rows left out are not read. Where z and r have K numbers a row, whole vectors are used all the same: z is written and
// r read up to `lanes` numbers from the beginning of its last row.
template <class T, class I> struct SparseKernels {
    // z (end - begin, K) = x w' + bias; the first row that does not lie within the matrix, or -1.
    ptrdiff_t (*gather)(const Csr<T, I>& x, Kept kept, Columns<const T> w, const T* bias, T* z, ptrdiff_t K,
                        ptrdiff_t begin, ptrdiff_t end);
    // dw += r' x, r (end - begin, K).
    void (*scatter)(const Csr<T, I>& x, Kept kept, const T* r, ptrdiff_t K, Columns<T> dw, ptrdiff_t begin,
                    ptrdiff_t end);
    // The same for one block of columns.
    void (*scatter_block)(const Csr<T, I>& x, Kept kept, const T* r, ptrdiff_t K, Columns<T> dw, Split split,
                          ptrdiff_t block, ptrdiff_t begin, ptrdiff_t end);
    void (*split)(const Csr<T, I>& x, Kept kept, Split out, ptrdiff_t begin, ptrdiff_t end);
};

// What x may be stored in beside T, in which all else is and everything is computed.
template <class T> struct OtherOf {
    typedef double type;
};
template <> struct OtherOf<double> {
    typedef float type;
};
template <class T> using Other = typename OtherOf<T>::type;

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

// Memory to fetch towards the cache while something else is computed; and as much again, `skip` bytes further on.
struct Ahead {
    const char *at, *end;
    ptrdiff_t skip = 0;
};

// C (rows x columns) = [C +] A B with A(i, l) = a[i * a_row + l * a_step]. B lies in panels of `Kernels::panel`
// columns, B(l, j) = b[j / panel * b_panel + l * b_step + j % panel]: b_panel = panel for a plain matrix of row stride
// b_step.
template <class T> struct Product {
    ptrdiff_t rows, columns, depth;
    const T* a;
    ptrdiff_t a_row, a_step;
    const T* b;
    ptrdiff_t b_step, b_panel;
    bool padded;  // the last panel of B may be read to its full width
    T* c;
    ptrdiff_t c_row;
    bool add;
    bool by_rows = false;  // finish rows of C one after the other, where C streams through memory
    Ahead ahead = {nullptr, nullptr};
    const T* start = nullptr;  // what each row of C begins with, unless it is added to
};

template <class T> struct Kernels : RowKernels<T, T> {
    void (*matmul)(const Product<T>& p);
    // Logits z (rows, K) of rows of x; `packed` is w as pack_columns leaves it. `ahead` is fetched meanwhile.
    void (*logits)(const T* x, const T* w, const T* packed, const T* bias, T* z, ptrdiff_t D, ptrdiff_t K,
                   ptrdiff_t rows, Ahead ahead);
    // The same of rows that are stored in the other type, and are left in x.
    void (*other_logits)(const Other<T>* from, T* x, const T* w, const T* packed, const T* bias, T* z, ptrdiff_t D,
                         ptrdiff_t K, ptrdiff_t rows, Ahead ahead);
    // n numbers in one type and the other.
    void (*from_other)(const Other<T>* from, T* to, ptrdiff_t n);
    void (*to_other)(const T* from, Other<T>* to, ptrdiff_t n);
    // The right factor of a product in panels, from (rows x columns) as it lies, or turned over from (columns x rows).
    void (*pack_rows)(const T* from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t columns, T* packed);
    void (*pack_columns)(const T* from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t columns, T* packed);
    void (*transpose)(const T* from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t columns, T* to, ptrdiff_t ldt);
    // db (K) += the sums of the columns of r (rows, K).
    void (*add_columns)(const T* r, ptrdiff_t K, ptrdiff_t rows, double* db);
    // n numbers past the caches.
    void (*copy_past)(const T* from, T* to, ptrdiff_t n);
    void (*sum_parts)(const T* from, ptrdiff_t parts, ptrdiff_t n, T* out, ptrdiff_t begin, ptrdiff_t end);
    int panel;
    // From logits a and their directions v: v becomes the weighted directional derivative of the gradient in the
    // logits, and a, with `keep`, that gradient (else what is left of it has no meaning).
    void (*row_hvp)(T* a, T* v, Target<T> q, Slopes slopes, Curvatures bend, bool keep, ptrdiff_t K, ptrdiff_t begin,
                    ptrdiff_t end);
    // For columns of so many lanes: 1, 2, 4, 8, or a multiple of the numbers in 64 bytes.
    const SparseKernels<T, int32_t>& (*csr32)(ptrdiff_t lanes);
    const SparseKernels<T, int64_t>& (*csr64)(ptrdiff_t lanes);
    // w (K, D) by columns [first, last), what fills up as zeros.
    void (*to_columns)(const T* w, ptrdiff_t K, ptrdiff_t D, T* out, ptrdiff_t stride, ptrdiff_t first, ptrdiff_t last);
    // dw (K, D) of the columns [first, last): the sum over parts in float64, in their order; parts are `size` numbers
    // apart.
    void (*from_columns)(const T* parts, ptrdiff_t count, ptrdiff_t size, ptrdiff_t stride, T* dw, ptrdiff_t K,
                         ptrdiff_t D, ptrdiff_t first, ptrdiff_t last);
    // Columns' moments: sparse_moments.h.
    ptrdiff_t (*column_moments32)(const Csr<T, int32_t>& x, const double* weight, ptrdiff_t begin, ptrdiff_t end,
                                  double* out);
    ptrdiff_t (*column_moments64)(const Csr<T, int64_t>& x, const double* weight, ptrdiff_t begin, ptrdiff_t end,
                                  double* out);
    // The entries of N rows in the columns whose place is not -1, as doubles with that place for a column, and where each
    // row begins (N + 1): how many they are. No more than `room` are written. `bad`: the first row that does not lie
    // within the matrix.
    int64_t (*take32)(const Csr<T, int32_t>& x, const int32_t* place, ptrdiff_t N, int64_t room, int64_t* start,
                      int32_t* column, double* value, ptrdiff_t* bad);
    int64_t (*take64)(const Csr<T, int64_t>& x, const int32_t* place, ptrdiff_t N, int64_t room, int64_t* start,
                      int32_t* column, double* value, ptrdiff_t* bad);
    // g (D) += x' r; the first row that does not lie within the matrix, or -1.
    ptrdiff_t (*pull_back32)(const Csr<T, int32_t>& x, ptrdiff_t N, const double* r, double* g);
    ptrdiff_t (*pull_back64)(const Csr<T, int64_t>& x, ptrdiff_t N, const double* r, double* g);
    // out (P, P) += its rows [first, last), up to the diagonal, of the weighted second moments of the rows of x
    // (., D) whose places are at[begin, end); P is D, or D + 1 with a column of ones behind the features. Products may
    // be in float: gram.h.
    void (*add_moments)(const T* x, const int64_t* at, ptrdiff_t D, const double* weight, ptrdiff_t begin, ptrdiff_t end,
                        ptrdiff_t first, ptrdiff_t last, bool in_float, double* out, ptrdiff_t P);
    // Loss and gradient of two classes, the first without weights: pair.h. Null where vectors are too short for it.
    double (*pair_fused)(const T* x, const T* w, T bias, const int64_t* label, const double* weight, double slope,
                         double* loss, T* g, double* gb, ptrdiff_t D, ptrdiff_t rows);
    double (*other_pair_fused)(const Other<T>* x, const T* w, T bias, const int64_t* label, const double* weight,
                               double slope, double* loss, T* g, double* gb, ptrdiff_t D, ptrdiff_t rows);
    // Lower triangles (P, P), and vectors (K, P), each with its own: triangle.h.
    void (*with_triangles)(const T* triangles, ptrdiff_t K, ptrdiff_t P, int what, double* x);
    void (*scaled_triangle)(const T* H, const double* more, const double* scale, double diagonal, ptrdiff_t P,
                            T* out);
    bool (*factor)(ptrdiff_t P, T* triangle);
};

// Coordinates of (V, C) weights, some of them: j is that of vector[j] at column[j], of a matrix by columns.
struct Coordinates {
    const int64_t* start;   // (C + 1)
    const int32_t* row;     // of each entry
    const double* value;
    const int32_t* column;  // (P)
    const int32_t* vector;  // (P)
    ptrdiff_t vectors;      // V
};

// A quadratic model of rows, and how far they have moved in it: see descend.h.
struct RowCurvature {
    const double* weight;  // (N)
    const double* p;       // (N, V), null for two classes
    double* change;        // (N, V)
    double* mean;          // (N)
};

struct Level {
    const char* name;
    const Kernels<float>* f32;
    const Kernels<double>* f64;
    const RowKernels<Bf16, float>* bf16;
    const RowKernels<F16, float>* f16;
    // The largest of n labels; the lowest number for none.
    int64_t (*largest)(const int64_t* label, ptrdiff_t n);
    // Rows [first, last) of out (P, P), and what lies across the diagonal, from the lower triangles of so many parts.
    void (*both_triangles)(const double* parts, ptrdiff_t count, ptrdiff_t P, ptrdiff_t first, ptrdiff_t last,
                           double* out);
    // See working.h.
    void (*add_gram)(const int64_t* start, const int32_t* column, const double* value, const double* weight,
                     ptrdiff_t N, ptrdiff_t step, ptrdiff_t first, ptrdiff_t known, ptrdiff_t P, double* out,
                     double* diagonal);
    void (*add_up_rows)(const int64_t* start, const int32_t* column, const double* value, ptrdiff_t N, const double* w,
                        double* z);
    void (*pull_back)(const int64_t* start, const int32_t* column, const double* value, ptrdiff_t N, const double* r,
                      double* g);
    double (*logistic_rows)(const double* z, const int64_t* label, const double* weight, ptrdiff_t N, double* p,
                            double* r);
    // See descend.h.
    void (*spread_columns)(const Coordinates& x, const int64_t* which, ptrdiff_t n, const double* step, double* z);
    void (*gather_columns)(const Coordinates& x, const int64_t* which, ptrdiff_t n, const double* r, bool squares,
                           double* out);
    double (*descend_columns)(const Coordinates& x, const RowCurvature& h, const int64_t* which, ptrdiff_t n,
                              const double* base, const double* l1, const double* l2, const double* diagonal,
                              double* u);
};

}  // namespace xent
