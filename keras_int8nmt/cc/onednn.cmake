# Finds oneDNN and the OpenMP runtime it needs, unless KERAS_INT8NMT_ONEDNN is OFF: sets ONEDNN_FOUND,
# ONEDNN_INCLUDE_DIR, ONEDNN_LIBRARY, ONEDNN_SONAME, GOMP_LIBRARY and GOMP_SONAME.
find_package(Python 3.8 COMPONENTS Interpreter)

# The folder of a file that an installed Python package brought, wherever pip has put it (a build
# environment, a venv, a user's folder).
function(python_package_folder package file result)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "
import importlib.metadata as m, sys
try:
    files = m.files(sys.argv[1]) or []
except m.PackageNotFoundError:
    files = []
for f in files:
    if f.name == sys.argv[2]:
        print(f.locate().resolve().parent)
        break
" ${package} ${file}
    OUTPUT_VARIABLE _folder OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(${result} "${_folder}" PARENT_SCOPE)
endfunction()

set(ONEDNN_FOUND OFF)
if(KERAS_INT8NMT_ONEDNN)
  if(Python_EXECUTABLE)
    python_package_folder(onednn-devel-cpu-gomp dnnl.hpp _include)
    python_package_folder(onednn-cpu-gomp libdnnl.so.3 _library)
  endif()
  # A build folder used again may remember a build environment that is gone.
  foreach(_name ONEDNN_INCLUDE_DIR ONEDNN_LIBRARY)
    if(${_name} AND NOT EXISTS "${${_name}}")
      unset(${_name} CACHE)
    endif()
  endforeach()
  find_path(ONEDNN_INCLUDE_DIR dnnl.hpp HINTS ${_include})
  find_library(ONEDNN_LIBRARY NAMES libdnnl.so.3 libdnnl.so dnnl HINTS ${_library})
  set(ONEDNN_SONAME libdnnl.so.3)

  if(ONEDNN_LIBRARY AND ONEDNN_INCLUDE_DIR)
    set(ONEDNN_FOUND ON)
    set(GOMP_SONAME libgomp.so.1)
    if(GOMP_LIBRARY)
      # Another than the compiler's, under the name that others know it by.
      get_filename_component(GOMP_SONAME ${GOMP_LIBRARY} NAME)
      find_program(PATCHELF patchelf REQUIRED)
    else()
      execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libgomp.so.1
                      OUTPUT_VARIABLE GOMP_LIBRARY OUTPUT_STRIP_TRAILING_WHITESPACE)
    endif()
    if(NOT EXISTS "${GOMP_LIBRARY}")
      message(FATAL_ERROR "oneDNN needs the GNU OpenMP runtime libgomp.so.1 (it comes with g++); "
                          "there is no file \"${GOMP_LIBRARY}\"")
    endif()
  endif()
endif()

# For the native tests only; the library looks for MKL when it runs.
if(Python_EXECUTABLE)
  foreach(_name libmkl_rt.so.3 libmkl_rt.so.2)
    if(NOT MKL_FOLDER)
      python_package_folder(mkl ${_name} MKL_FOLDER)
      set(MKL_LIBRARY ${MKL_FOLDER}/${_name})
    endif()
  endforeach()
endif()
if(NOT MKL_FOLDER)
  set(MKL_LIBRARY "")
endif()
