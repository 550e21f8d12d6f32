// Weighted second moments of dense rows as Python functions.
#include "bind.h"

namespace {

template <class T> void bind(nb::module_& m) {
    m.def(
        "add_moments",
        [](size_t level, Matrix<const T> x, Vector<const int64_t> at, ConstColumn weight, size_t begin, size_t end, size_t first,
           size_t last, bool in_float, Matrix<double> out) {
            const size_t N = x.shape(0), D = x.shape(1), P = out.shape(0);
            need(weight.shape(0) == at.shape(0), "weights and rows differ in number");
            need(out.shape(1) == P && (P == D || P == D + 1), "moments have another size");
            need_range(begin, end, weight.shape(0));
            for (size_t i = begin; i < end; i++) need(at(i) >= 0 && size_t(at(i)) < N, "a row is out of range");
            need(first <= last && last <= P, "rows of the moments are out of range");
            nb::gil_scoped_release release;
            kernels<T>(level).add_moments(x.data(), at.data(), D, weight.data(), begin, end, first, last, in_float, out.data(),
                                          P);
        },
        "level"_a, nb::arg("x").noconvert(), nb::arg("at").noconvert(), nb::arg("weight").noconvert(), "begin"_a, "end"_a, "first"_a,
        "last"_a, "in_float"_a, nb::arg("out").noconvert());
}

using Parts = nb::ndarray<const double, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

}  // namespace

void bind_gram(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);

    m.def(
        "both_triangles",
        [](size_t level, Parts parts, size_t first, size_t last, Matrix<double> out) {
            const size_t P = out.shape(0);
            need(out.shape(1) == P && parts.shape(1) == P && parts.shape(2) == P, "moments have another size");
            need(first <= last && last <= P, "rows of the moments are out of range");
            nb::gil_scoped_release release;
            level_at(level).both_triangles(parts.data(), parts.shape(0), P, first, last, out.data());
        },
        "level"_a, nb::arg("parts").noconvert(), "first"_a, "last"_a, nb::arg("out").noconvert());
}
