// The native CPU kernels as a Python module: types and shapes are checked here, the lock is released, nothing is kept.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "bind.h"
#include "cpuid.h"

#ifdef __linux__
#include <sched.h>
#endif

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

NB_MODULE(_cpu, m) {
    m.doc() = "Native kernels: single-threaded, stateless, over a range of rows. xent.kernels.cpu schedules them.";
    m.def("levels", [] {
        std::vector<std::string> names;
        for (const xent::Level* level : levels()) names.push_back(level->name);
        return names;
    });
    // The processor that this thread runs on; -1 where the system does not say.
    m.def("this_processor", [] {
#ifdef __linux__
        return sched_getcpu();
#else
        return -1;
#endif
    });
    m.def("panel", [](size_t level, size_t itemsize) {
        return itemsize == 4 ? kernels<float>(level).panel : kernels<double>(level).panel;
    });
    bind_rows(m);
    bind_linear(m);
    bind_hvp(m);
    bind_sparse(m);
    bind_working(m);
    bind_descend(m);
    bind_gram(m);
    bind_triangle(m);
}
