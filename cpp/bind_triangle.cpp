// Lower triangles as Python functions.
#include "bind.h"

namespace {

using Square = Matrix<const double>;

template <class T> void bind(nb::module_& m) {
    using Triangles = nb::ndarray<const T, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

    m.def(
        "with_triangles",
        [](size_t level, Triangles L, int what, Matrix<double> x, size_t begin, size_t end) {
            const size_t K = x.shape(0), P = x.shape(1);
            need(L.shape(0) == K && L.shape(1) == P && L.shape(2) == P, "triangles and vectors differ in shape");
            need_range(begin, end, K);
            nb::gil_scoped_release release;
            kernels<T>(level).with_triangles(L.data() + begin * P * P, end - begin, P, what, x.data() + begin * P);
        },
        "level"_a, nb::arg("triangles").noconvert(), "what"_a, nb::arg("x").noconvert(), "begin"_a, "end"_a);
    m.def(
        "factor",
        [](size_t level, Matrix<const T> H, Square more, ConstColumn scale, double diagonal, Matrix<T> out) {
            const size_t P = out.shape(0);
            need(out.shape(1) == P && H.shape(0) == P && H.shape(1) == P && more.shape(0) == P && more.shape(1) == P &&
                     scale.shape(0) == P,
                 "the matrix and its factor differ in shape");
            nb::gil_scoped_release release;
            kernels<T>(level).scaled_triangle(H.data(), more.data(), scale.data(), diagonal, P, out.data());
            return kernels<T>(level).factor(P, out.data());
        },
        "level"_a, nb::arg("H").noconvert(), nb::arg("more").noconvert(), nb::arg("scale").noconvert(), "diagonal"_a,
        nb::arg("out").noconvert());
}

}  // namespace

void bind_triangle(nb::module_& m) {
    bind<float>(m);
    bind<double>(m);
}
