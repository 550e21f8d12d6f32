// Models of L1 fits by columns as Python functions.
#include "bind.h"

namespace {

using Start = Vector<const int64_t>;
using Place = Vector<const int32_t>;
using Value = Vector<const double>;
using Which = Vector<const int64_t>;

#define XENT_COLUMNS                                                                                                \
    "level"_a, nb::arg("start").noconvert(), nb::arg("row").noconvert(), nb::arg("value").noconvert(),               \
        nb::arg("column").noconvert(), nb::arg("vector").noconvert(), nb::arg("which").noconvert()

// Whether n numbers are at least 0 and below `end`, so that none is read from beside an array.
template <class I> bool all_below(const I* a, size_t n, size_t end) {
    uint64_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t v = uint64_t(int64_t(a[i]));
        largest = v > largest ? v : largest;
    }
    return n == 0 || largest < end;
}

xent::Coordinates coordinates(const Start& start, const Place& row, const Value& value, const Place& column,
                              const Place& vector, const Which& which, size_t N, size_t V) {
    const size_t P = column.shape(0);
    need(start.shape(0) > 0 && row.shape(0) == value.shape(0) && vector.shape(0) == P, "columns and entries do not fit");
    int64_t before = 0;
    for (size_t c = 0; c < start.shape(0); c++) {
        need(start.data()[c] >= before && start.data()[c] <= int64_t(row.shape(0)), "columns do not follow each other");
        before = start.data()[c];
    }
    need(all_below(row.data(), row.shape(0), N), "an entry's row is not one of the rows");
    need(all_below(column.data(), P, start.shape(0) - 1) && all_below(vector.data(), P, V) &&
             all_below(which.data(), which.shape(0), P),
         "a coordinate is not one of the columns");
    return {start.data(), row.data(), value.data(), column.data(), vector.data(), ptrdiff_t(V)};
}

}  // namespace

void bind_descend(nb::module_& m) {
    m.def(
        "spread_columns",
        [](size_t level, Start start, Place row, Value value, Place column, Place vector, Which which, Value step,
           Matrix<double> z) {
            need(step.shape(0) == column.shape(0), "steps and coordinates differ in number");
            nb::gil_scoped_release release;
            const auto x = coordinates(start, row, value, column, vector, which, z.shape(0), z.shape(1));
            level_at(level).spread_columns(x, which.data(), which.shape(0), step.data(), z.data());
        },
        XENT_COLUMNS, nb::arg("step").noconvert(), nb::arg("z").noconvert());

    m.def(
        "gather_columns",
        [](size_t level, Start start, Place row, Value value, Place column, Place vector, Which which,
           Matrix<const double> r, bool squares, Column out) {
            need(out.shape(0) == which.shape(0), "products and coordinates differ in number");
            nb::gil_scoped_release release;
            const auto x = coordinates(start, row, value, column, vector, which, r.shape(0), r.shape(1));
            level_at(level).gather_columns(x, which.data(), which.shape(0), r.data(), squares, out.data());
        },
        XENT_COLUMNS, nb::arg("r").noconvert(), "squares"_a, nb::arg("out").noconvert());

    m.def(
        "descend_columns",
        [](size_t level, Start start, Place row, Value value, Place column, Place vector, Which which, Value weight,
           Maybe<Matrix<const double>> p, Matrix<double> change, Maybe<Column> mean, Value base, Value l1, Value l2,
           Value diagonal, Column u) {
            const size_t N = change.shape(0), V = change.shape(1), P = column.shape(0);
            need(weight.shape(0) == N && bool(p) == bool(mean) && (p || V == 1), "weights and rows do not fit");
            need(!p || (p->shape(0) == N && p->shape(1) == V), "probabilities and rows do not fit");
            need_rows(mean, N, "means and rows differ in number");
            need(base.shape(0) == P && l1.shape(0) == P && l2.shape(0) == P && diagonal.shape(0) == P &&
                     u.shape(0) == P,
                 "penalties and coordinates differ in number");
            nb::gil_scoped_release release;
            const auto x = coordinates(start, row, value, column, vector, which, N, V);
            return level_at(level).descend_columns(x, {weight.data(), data(p), change.data(), data(mean)}, which.data(),
                                                   which.shape(0), base.data(), l1.data(), l2.data(), diagonal.data(),
                                                   u.data());
        },
        XENT_COLUMNS, nb::arg("weight").noconvert(), nb::arg("p").noconvert().none(), nb::arg("change").noconvert(),
        nb::arg("mean").noconvert().none(), nb::arg("base").noconvert(), nb::arg("l1").noconvert(),
        nb::arg("l2").noconvert(), nb::arg("diagonal").noconvert(), nb::arg("u").noconvert());
}
