// The native CPU kernels as a Python module: types and shapes are checked here, the lock is released, nothing is kept.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpuid.h"
#include "kernels.h"
#include "linear.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace xent_plain {
extern const xent::Level level;
}
#ifdef XENT_X86
namespace xent_avx2 {
extern const xent::Level level;
}
namespace xent_avx512 {
extern const xent::Level level;
}
#endif

namespace {

template <class T> using Matrix = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T> using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Maybe = std::optional<T>;

const std::vector<const xent::Level*>& levels() {
    static const std::vector<const xent::Level*> found = [] {
        std::vector<const xent::Level*> v;
#ifdef XENT_X86
        const xent::Machine machine = xent::this_machine();
        if (machine.avx512) v.push_back(&xent_avx512::level);
        if (machine.avx2) v.push_back(&xent_avx2::level);
#endif
        v.push_back(&xent_plain::level);
        return v;
    }();
    return found;
}

template <class T> const xent::Kernels<T>& kernels(size_t level) {
    if (level >= levels().size()) throw std::out_of_range("no such level on this machine");
    if constexpr (sizeof(T) == 4) return *levels()[level]->f32;
    else return *levels()[level]->f64;
}

template <class A> auto data(const Maybe<A>& a) -> decltype(a->data()) { return a ? a->data() : nullptr; }

void need(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

void need_range(size_t begin, size_t end, size_t N) { need(begin <= end && end <= N, "rows are out of range"); }

template <class A> void need_rows(const Maybe<A>& a, size_t N, const char* what) { need(!a || a->shape(0) == N, what); }

template <class T>
xent::Target<T> target(const Maybe<Vector<const int64_t>>& label, const Maybe<Matrix<const T>>& probs, size_t begin,
                       size_t end, size_t N, size_t K) {
    need(label || probs, "a target needs labels, probabilities or both");
    need_rows(label, N, "labels and rows differ in number");
    need(!probs || (probs->shape(0) == N && probs->shape(1) == K), "probabilities and logits differ in shape");
    if (label)
        for (size_t i = begin; i < end; i++) need(label->data()[i] < (int64_t)K, "a label is out of range");
    return {data(label), data(probs)};
}

using Column = Vector<double>;
using ConstColumn = Vector<const double>;

xent::Stats stats(const Column& m, const Column& s, const Column& t, const Maybe<Column>& u, size_t N) {
    need(m.shape(0) == N && s.shape(0) == N && t.shape(0) == N, "statistics and rows differ in number");
    need_rows(u, N, "statistics and rows differ in number");
    return {m.data(), s.data(), t.data(), data(u)};
}

xent::Stats given(const ConstColumn& m, const ConstColumn& s, size_t N) {
    need(m.shape(0) == N && s.shape(0) == N, "statistics and rows differ in number");
    return {const_cast<double*>(m.data()), const_cast<double*>(s.data()), nullptr, nullptr};
}

xent::Slopes slopes(const ConstColumn& s, const ConstColumn& t, const ConstColumn& u, const Maybe<ConstColumn>& weight,
                    size_t N, bool one) {
    const size_t n = one ? 1 : N;
    need(s.shape(0) == n && t.shape(0) == n && u.shape(0) == n, "slopes and rows differ in number");
    need_rows(weight, N, "weights and rows differ in number");
    return {s.data(), t.data(), u.data(), one ? 0 : 1, data(weight)};
}

template <class T>
xent::Linear<T> linear(size_t level, const Matrix<const T>& x, const Vector<const T>& packed, const Matrix<const T>& w,
                       const Maybe<Vector<const T>>& bias, const Maybe<Vector<const int64_t>>& label,
                       const Maybe<Matrix<const T>>& probs, size_t tile_rows, size_t begin, size_t end) {
    const size_t N = x.shape(0), D = x.shape(1), K = w.shape(0), P = kernels<T>(level).panel;
    need(w.shape(1) == D, "x and w differ in features");
    need(packed.shape(0) == (K + P - 1) / P * P * D, "packed weights have another size");
    need(tile_rows > 0, "a tile needs rows");
    need_rows(bias, K, "bias and classes differ in number");
    need_range(begin, end, N);
    return {x.data(),
            packed.data(),
            w.data(),
            data(bias),
            target<T>(label, probs, begin, end, N, K),
            ptrdiff_t(D),
            ptrdiff_t(K),
            ptrdiff_t(tile_rows),
            ptrdiff_t(begin),
            ptrdiff_t(end)};
}

template <class T>
xent::LinearGrads<T> grads(const xent::Linear<T>& p, size_t N, const Maybe<Matrix<T>>& dx, const Maybe<Matrix<T>>& dw,
                           const Maybe<Matrix<T>>& residual, const Maybe<Column>& db) {
    const size_t D = p.D, K = p.K;
    need(!dx || (dx->shape(0) == N && dx->shape(1) == D), "dx has another shape than x");
    need(!dw || (dw->shape(0) == K && dw->shape(1) == D), "dw has another shape than w");
    need(!residual || (residual->shape(0) >= size_t(p.end - p.begin) && residual->shape(1) == K),
         "residual has another shape");
    need_rows(db, K, "db has another shape than bias");
    return {data(dx), data(dw), data(residual), data(db)};
}

template <class T> void bind(nb::module_& m) {
    using Label = Maybe<Vector<const int64_t>>;
    using Probs = Maybe<Matrix<const T>>;
    using Bias = Maybe<Vector<const T>>;
    using Weight = Maybe<ConstColumn>;

    m.def(
        "row_stats",
        [](size_t level, Matrix<const T> a, Label label, Probs probs, Column m, Column s, Column t, Maybe<Column> u,
           size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            const auto q = target<T>(label, probs, begin, end, N, K);
            const auto out = stats(m, s, t, u, N);
            nb::gil_scoped_release release;
            kernels<T>(level).row_stats(a.data(), q, out, K, begin, end);
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "t"_a, "u"_a.none(),
        "begin"_a, "end"_a);

    m.def(
        "row_grad",
        [](size_t level, Matrix<const T> a, Label label, Probs probs, ConstColumn m, ConstColumn s, ConstColumn ls,
           ConstColumn lt, ConstColumn lu, Weight weight, Matrix<T> da, size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            need(da.shape(0) == N && da.shape(1) == K, "the gradient has another shape than the logits");
            const auto q = target<T>(label, probs, begin, end, N, K);
            const auto in = given(m, s, N);
            const auto l = slopes(ls, lt, lu, weight, N, false);
            nb::gil_scoped_release release;
            kernels<T>(level).row_grad(a.data(), q, in, l, da.data(), K, begin, end);
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "slope_s"_a,
        "slope_t"_a, "slope_u"_a, "weight"_a.none(), nb::arg("dlogits").noconvert(), "begin"_a, "end"_a);

    m.def(
        "row_fused",
        [](size_t level, Matrix<const T> a, Label label, Probs probs, ConstColumn ls, ConstColumn lt, ConstColumn lu,
           Weight weight, Column loss, Matrix<T> da, size_t begin, size_t end) {
            const size_t N = a.shape(0), K = a.shape(1);
            need_range(begin, end, N);
            need(da.shape(0) == N && da.shape(1) == K && loss.shape(0) == N, "outputs differ in shape from the logits");
            const auto q = target<T>(label, probs, begin, end, N, K);
            const auto l = slopes(ls, lt, lu, weight, N, true);
            nb::gil_scoped_release release;
            kernels<T>(level).row_fused(a.data(), q, l, loss.data(), da.data(), K, begin, end);
        },
        "level"_a, nb::arg("logits").noconvert(), "label"_a.none(), "probs"_a.none(), "slope_s"_a, "slope_t"_a,
        "slope_u"_a, "weight"_a.none(), "loss"_a, nb::arg("dlogits").noconvert(), "begin"_a, "end"_a);

    m.def(
        "pack",
        [](size_t level, Matrix<const T> w, Vector<T> packed, size_t first, size_t last) {
            const size_t K = w.shape(0), D = w.shape(1), P = kernels<T>(level).panel, panels = (K + P - 1) / P;
            need(packed.shape(0) == panels * P * D && first <= last && last <= panels, "packed has another size");
            nb::gil_scoped_release release;
            kernels<T>(level).pack(w.data(), K, D, packed.data(), first, last);
        },
        "level"_a, nb::arg("w").noconvert(), nb::arg("packed").noconvert(), "first_panel"_a, "last_panel"_a);

    m.def(
        "linear_stats",
        [](size_t level, Matrix<const T> x, Vector<const T> packed, Matrix<const T> w, Bias bias, Label label,
           Probs probs, Column m, Column s, Column t, Maybe<Column> u, size_t tile_rows, size_t begin, size_t end) {
            const auto p = linear<T>(level, x, packed, w, bias, label, probs, tile_rows, begin, end);
            const auto out = stats(m, s, t, u, x.shape(0));
            nb::gil_scoped_release release;
            xent::linear_stats(kernels<T>(level), p, out);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("packed").noconvert(), nb::arg("w").noconvert(), "bias"_a.none(),
        "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "t"_a, "u"_a.none(), "tile_rows"_a, "begin"_a, "end"_a);

    m.def(
        "linear_grad",
        [](size_t level, Matrix<const T> x, Vector<const T> packed, Matrix<const T> w, Bias bias, Label label,
           Probs probs, ConstColumn m, ConstColumn s, ConstColumn ls, ConstColumn lt, ConstColumn lu, Weight weight,
           Maybe<Matrix<T>> dx, Maybe<Matrix<T>> dw, Maybe<Matrix<T>> residual, Maybe<Column> db, size_t tile_rows,
           size_t begin, size_t end) {
            const auto p = linear<T>(level, x, packed, w, bias, label, probs, tile_rows, begin, end);
            const auto in = given(m, s, x.shape(0));
            const auto l = slopes(ls, lt, lu, weight, x.shape(0), false);
            const auto g = grads(p, x.shape(0), dx, dw, residual, db);
            nb::gil_scoped_release release;
            xent::linear_grad(kernels<T>(level), p, in, l, g);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("packed").noconvert(), nb::arg("w").noconvert(), "bias"_a.none(),
        "label"_a.none(), "probs"_a.none(), "m"_a, "s"_a, "slope_s"_a, "slope_t"_a, "slope_u"_a, "weight"_a.none(),
        nb::arg("dx").noconvert().none(), nb::arg("dw").noconvert().none(), nb::arg("residual").noconvert().none(),
        "db"_a.none(), "tile_rows"_a, "begin"_a, "end"_a);

    m.def(
        "linear_fused",
        [](size_t level, Matrix<const T> x, Vector<const T> packed, Matrix<const T> w, Bias bias, Label label,
           Probs probs, ConstColumn ls, ConstColumn lt, ConstColumn lu, Weight weight, Column loss, Maybe<Matrix<T>> dx,
           Maybe<Matrix<T>> dw, Maybe<Matrix<T>> residual, Maybe<Column> db, size_t tile_rows, size_t begin,
           size_t end) {
            const auto p = linear<T>(level, x, packed, w, bias, label, probs, tile_rows, begin, end);
            need(loss.shape(0) == x.shape(0), "losses and rows differ in number");
            const auto l = slopes(ls, lt, lu, weight, x.shape(0), true);
            const auto g = grads(p, x.shape(0), dx, dw, residual, db);
            nb::gil_scoped_release release;
            xent::linear_fused(kernels<T>(level), p, l, loss.data(), g);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("packed").noconvert(), nb::arg("w").noconvert(), "bias"_a.none(),
        "label"_a.none(), "probs"_a.none(), "slope_s"_a, "slope_t"_a, "slope_u"_a, "weight"_a.none(), "loss"_a,
        nb::arg("dx").noconvert().none(), nb::arg("dw").noconvert().none(), nb::arg("residual").noconvert().none(),
        "db"_a.none(), "tile_rows"_a, "begin"_a, "end"_a);

    m.def(
        "add_dw",
        [](size_t level, Matrix<const T> x, Matrix<const T> residual, Matrix<T> dw, size_t begin, size_t end,
           size_t first, size_t last) {
            const size_t K = dw.shape(0), D = dw.shape(1);
            need_range(begin, end, x.shape(0));
            need(x.shape(1) == D && residual.shape(1) == K && residual.shape(0) >= end - begin && first <= last &&
                     last <= K,
                 "residual, x and dw do not fit");
            const xent::Linear<T> p = {x.data(),     nullptr,      nullptr, nullptr,          {},
                                       ptrdiff_t(D), ptrdiff_t(K), 1,       ptrdiff_t(begin), ptrdiff_t(end)};
            nb::gil_scoped_release release;
            xent::add_dw(kernels<T>(level), p, residual.data(), dw.data(), begin, end, first, last);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("residual").noconvert(), nb::arg("dw").noconvert(), "begin"_a,
        "end"_a, "first_class"_a, "last_class"_a);
}

}  // namespace

NB_MODULE(_cpu, m) {
    m.doc() = "Native kernels: single-threaded, stateless, over a range of rows. xent.kernels.cpu schedules them.";
    m.def("levels", [] {
        std::vector<std::string> names;
        for (const xent::Level* level : levels()) names.push_back(level->name);
        return names;
    });
    m.def("panel", [](size_t level, size_t itemsize) {
        return itemsize == 4 ? kernels<float>(level).panel : kernels<double>(level).panel;
    });
    bind<float>(m);
    bind<double>(m);
}
