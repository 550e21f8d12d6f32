// One level: everything in this file and its headers is compiled once for each instruction set.
#include "by_classes.h"
#include "gram.h"
#include "hvp.h"
#include "pair.h"
#include "sparse.h"
#include "sparse_moments.h"
#include "thin.h"
#include "triangle.h"
#include "working.h"
#include "descend.h"

#define XENT_STRING2(x) #x
#define XENT_STRING(x) XENT_STRING2(x)

namespace XENT_NAMESPACE {

template <class S> constexpr xent::RowKernels<S, Computed<S>> rows() {
    return {row_stats<S>, row_grad<S>, row_fused<S>};
}

template <class T, class S>
constexpr auto pair_kernel() -> double (*)(const S*, const T*, T, const int64_t*, const double*, double, double*, T*,
                                           double*, ptrdiff_t, ptrdiff_t) {
    if constexpr (Vec<T>::width >= 4) return pair_fused<T, S>;
    else return nullptr;
}

template <class T> constexpr xent::Kernels<T> table() {
    return {rows<T>(),    matmul<T>,       logits<T>,    other_logits<T>, from_other<T>, to_other<T>, pack_rows<T>,
            pack_columns<T>, transpose<T>, add_columns<T>, copy_past<T>, sum_parts<T>, int(panel_width<T>()),
            row_hvp<T>, sparse_kernels<T, int32_t>, sparse_kernels<T, int64_t>, to_columns<T>, from_columns<T>,
            column_moments<T, int32_t>, column_moments<T, int64_t>,
            take_columns<T, int32_t>, take_columns<T, int64_t>,
             pull_back_rows<T, int32_t>, pull_back_rows<T, int64_t>, add_moments<T>, pair_kernel<T, T>(),
             pair_kernel<T, Other<T>>(), with_triangles<T>, scaled_triangle<T>, factor<T>};
}

static int64_t largest(const int64_t* label, ptrdiff_t n) {
    constexpr int W = Vec<double>::width;
    int64_t out = INT64_MIN;
    ptrdiff_t i = 0;
    if (n >= W) {
        VecI64 most = (VecI64)load((const double*)label);
        for (; i + W <= n; i += W) {
            const VecI64 v = (VecI64)load((const double*)(label + i));
            most = v > most ? v : most;
        }
        for (int l = 0; l < W; l++) out = most[l] > out ? most[l] : out;
    }
    for (; i < n; i++) out = label[i] > out ? label[i] : out;
    return out;
}

static const xent::Kernels<float> f32 = table<float>();
static const xent::Kernels<double> f64 = table<double>();
static const xent::RowKernels<xent::Bf16, float> bf16 = rows<xent::Bf16>();
static const xent::RowKernels<xent::F16, float> f16 = rows<xent::F16>();

extern const xent::Level level;
const xent::Level level = {XENT_STRING(XENT_LEVEL), &f32, &f64, &bf16, &f16, largest,
                           both_triangles, add_gram, add_up_rows, pull_back, logistic_rows,
                           spread_columns, gather_columns, descend_columns};

}  // namespace XENT_NAMESPACE
