// The columns of a working set, their weighted products and the rows of two classes as Python functions.
#include "bind.h"

namespace {

using Start = Vector<const int64_t>;
using Place = Vector<const int32_t>;
using Value = Vector<const double>;

#define XENT_ENTRIES                                                                                 \
    "level"_a, nb::arg("start").noconvert(), nb::arg("column").noconvert(), nb::arg("value").noconvert()

// Reading the places once more is a tenth of what is done with them.
void need_entries(const Start& start, const Place& column, const Value& value, size_t N, size_t P) {
    need(start.shape(0) == N + 1 && column.shape(0) == value.shape(0), "rows and entries do not fit");
    int64_t before = 0;
    for (size_t i = 0; i <= N; i++) {
        need(start.data()[i] >= before && start.data()[i] <= int64_t(value.shape(0)), "rows do not follow each other");
        before = start.data()[i];
    }
    uint32_t signs = 0;  // of each place, and of how far it is from the last one
    for (size_t at = 0; at < column.shape(0); at++)
        signs |= uint32_t(column.data()[at]) | (uint32_t(P) - 1 - uint32_t(column.data()[at]));
    need(column.shape(0) == 0 || (P < (size_t(1) << 31) && signs >> 31 == 0), "an entry's column has no place");
}

template <class T, class I> void bind(nb::module_& m) {
    m.def(
        "take_columns",
        [](size_t level, Vector<const int64_t> start, Vector<const I> column, Vector<const T> value,
           Vector<const int32_t> place, size_t begin, size_t end, Vector<int64_t> to, Vector<int32_t> places,
           Vector<double> values) {
            const size_t N = end - begin, D = place.shape(0);
            need(start.shape(0) > 0 && column.shape(0) == value.shape(0), "start, columns and values do not fit");
            need_range(begin, end, start.shape(0) - 1);
            need(to.shape(0) == N + 1 && places.shape(0) == values.shape(0), "the rows taken need room");
            const xent::Csr<T, I> x{start.data() + begin, column.data(), value.data(), ptrdiff_t(D),
                                     int64_t(value.shape(0))};
            ptrdiff_t bad = -1;
            nb::gil_scoped_release release;
            int64_t n;
            if constexpr (sizeof(I) == 4)
                n = kernels<T>(level).take32(x, place.data(), N, places.shape(0), to.data(), places.data(),
                                             values.data(), &bad);
            else
                n = kernels<T>(level).take64(x, place.data(), N, places.shape(0), to.data(), places.data(),
                                             values.data(), &bad);
            need_valid(bad < 0 ? bad : bad + ptrdiff_t(begin), D);
            return n;
        },
        "level"_a, "start"_a, nb::arg("column").noconvert(), nb::arg("value").noconvert(),
        nb::arg("place").noconvert(), "begin"_a, "end"_a, nb::arg("to").noconvert(), nb::arg("places").noconvert(),
        nb::arg("values").noconvert());

    m.def(
        "pull_back_rows",
        [](size_t level, Start start, Vector<const I> column, Vector<const T> value, size_t begin, size_t end, Value r,
           Column g) {
            const size_t D = g.shape(0);
            need(start.shape(0) == r.shape(0) + 1 && column.shape(0) == value.shape(0),
                 "start, columns and values do not fit");
            need_range(begin, end, r.shape(0));
            const xent::Csr<T, I> x{start.data() + begin, column.data(), value.data(), ptrdiff_t(D),
                                     int64_t(value.shape(0))};
            nb::gil_scoped_release release;
            ptrdiff_t bad;
            if constexpr (sizeof(I) == 4) bad = kernels<T>(level).pull_back32(x, end - begin, r.data() + begin, g.data());
            else bad = kernels<T>(level).pull_back64(x, end - begin, r.data() + begin, g.data());
            need_valid(bad < 0 ? bad : bad + ptrdiff_t(begin), D);
        },
        "level"_a, "start"_a, nb::arg("column").noconvert(), nb::arg("value").noconvert(), "begin"_a, "end"_a,
        nb::arg("r").noconvert(), nb::arg("g").noconvert());
}

}  // namespace

void bind_working(nb::module_& m) {
    bind<float, int32_t>(m);
    bind<float, int64_t>(m);
    bind<double, int32_t>(m);
    bind<double, int64_t>(m);

    m.def(
        "add_gram",
        [](size_t level, Start start, Place column, Value value, Value weight, size_t step, size_t first,
           size_t known, Matrix<double> out, Maybe<Column> diagonal) {
            const size_t N = weight.shape(0), P = out.shape(0);
            need(out.shape(1) == P && known <= P && step > 0, "products have another size");
            need_rows(diagonal, P, "products have another size");
            nb::gil_scoped_release release;
            need_entries(start, column, value, N, P);
            level_at(level).add_gram(start.data(), column.data(), value.data(), weight.data(), N, step, first, known, P,
                                     out.data(), data(diagonal));
        },
        XENT_ENTRIES, nb::arg("weight").noconvert(), "step"_a, "first"_a, "known"_a, nb::arg("out").noconvert(),
        nb::arg("diagonal").noconvert().none());

    m.def(
        "add_up_rows",
        [](size_t level, Start start, Place column, Value value, Value w, Column z) {
            nb::gil_scoped_release release;
            need_entries(start, column, value, z.shape(0), w.shape(0));
            level_at(level).add_up_rows(start.data(), column.data(), value.data(), z.shape(0), w.data(), z.data());
        },
        XENT_ENTRIES, nb::arg("w").noconvert(), nb::arg("z").noconvert());

    m.def(
        "pull_back",
        [](size_t level, Start start, Place column, Value value, Value r, Column g) {
            nb::gil_scoped_release release;
            need_entries(start, column, value, r.shape(0), g.shape(0));
            level_at(level).pull_back(start.data(), column.data(), value.data(), r.shape(0), r.data(), g.data());
        },
        XENT_ENTRIES, nb::arg("r").noconvert(), nb::arg("g").noconvert());

    m.def(
        "logistic_rows",
        [](size_t level, Vector<const double> z, Vector<const int64_t> label, Vector<const double> weight,
           Vector<double> p, Vector<double> r) {
            const size_t N = z.shape(0);
            need(label.shape(0) == N && weight.shape(0) == N && p.shape(0) == N && r.shape(0) == N,
                 "logits, labels and weights differ in number");
            nb::gil_scoped_release release;
            return level_at(level).logistic_rows(z.data(), label.data(), weight.data(), N, p.data(), r.data());
        },
        "level"_a, nb::arg("z").noconvert(), nb::arg("label").noconvert(), nb::arg("weight").noconvert(),
        nb::arg("p").noconvert(), nb::arg("r").noconvert());
}
