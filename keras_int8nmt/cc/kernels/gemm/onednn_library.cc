#include "gemm/onednn_library.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

namespace keras_int8nmt {
namespace onednn {
namespace {

constexpr const char* kFile = "libdnnl.so.3";
constexpr const char* kOpenMp = "libgomp.so.1";

void* Open() {
  // Beside this library, where the build puts it; where the loader looks, for a program that links
  // what this library is made of.
  std::string beside;
  Dl_info own;
  if (dladdr(reinterpret_cast<void*>(&Library), &own) != 0 && own.dli_fname != nullptr) {
    beside = own.dli_fname;
    beside.resize(beside.rfind('/') + 1);
  }
  // Its OpenMP lies there as well, which the loader does not know: where the process has none yet,
  // and the system perhaps neither.
  if (dlopen(kOpenMp, RTLD_NOW | RTLD_NOLOAD) == nullptr) {
    dlopen((beside + kOpenMp).c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  std::string why;
  for (const std::string& path : {beside + kFile, std::string(kFile)}) {
    if (void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
    const char* error = dlerror();
    if (why.empty() && error != nullptr) why = error;
  }
  throw std::runtime_error("oneDNN can't be loaded: " + why);
}

template <typename F>
void Find(void* handle, const char* name, F* function) {
  *function = reinterpret_cast<F>(dlsym(handle, name));
  if (*function == nullptr) {
    throw std::runtime_error(std::string(kFile) + " has no function " + name);
  }
}

}  // namespace

const Functions& Library() {
  static const Functions functions = [] {
    void* handle = Open();
    Functions found;
#define ONEDNN_FUNCTION(name) Find(handle, "dnnl_" #name, &found.name);
#include "gemm/onednn_functions.def"
#undef ONEDNN_FUNCTION
    // Of the OpenMP that oneDNN itself uses.
    Find(handle, "omp_set_num_threads", &found.omp_set_num_threads);
    return found;
  }();
  return functions;
}

}  // namespace onednn
}  // namespace keras_int8nmt
