// One level: everything in this file and its headers is compiled once for each instruction set.
#include "hvp.h"
#include "matmul.h"
#include "narrow.h"
#include "sparse.h"

#define XENT_STRING2(x) #x
#define XENT_STRING(x) XENT_STRING2(x)

namespace XENT_NAMESPACE {

template <class T> constexpr xent::Kernels<T> table() {
    return {row_stats<T>,
            row_grad<T>,
            row_fused<T>,
            matmul<T>,
            pack<T>,
            logits<T>,
            int(panel_width<T>()),
            row_hvp<T>,
            sparse_kernels<T, int32_t>,
            sparse_kernels<T, int64_t>,
            to_columns<T>,
            from_columns<T>};
}

static const xent::Kernels<float> f32 = table<float>();
static const xent::Kernels<double> f64 = table<double>();

extern const xent::Level level;
const xent::Level level = {XENT_STRING(XENT_LEVEL), &f32, &f64};

}  // namespace XENT_NAMESPACE
