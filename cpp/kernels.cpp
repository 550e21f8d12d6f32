// One level: everything in this file and its headers is compiled once for each instruction set.
#include "narrow.h"
#include "thin.h"

#define XENT_STRING2(x) #x
#define XENT_STRING(x) XENT_STRING2(x)

namespace XENT_NAMESPACE {

template <class T> constexpr xent::Kernels<T> table() {
    return {row_stats<T>, row_grad<T>,     row_fused<T>, matmul<T>,    logits<T>,
            pack_rows<T>, pack_columns<T>, transpose<T>, sum_parts<T>, int(panel_width<T>())};
}

static const xent::Kernels<float> f32 = table<float>();
static const xent::Kernels<double> f64 = table<double>();

extern const xent::Level level;
const xent::Level level = {XENT_STRING(XENT_LEVEL), &f32, &f64};

}  // namespace XENT_NAMESPACE
