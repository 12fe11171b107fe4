# KERAS_INT8NMT_GLIBC: the libraries to load are to run with that glibc and later ones, whatever glibc
# the compiler has. `scripts/build_wheel.sh` asks for it; the function below makes a library so.
set(KERAS_INT8NMT_GLIBC "" CACHE STRING "Oldest glibc to load with, such as 2.28; nothing: this one")
if(NOT KERAS_INT8NMT_GLIBC)
  function(for_old_glibc target)
  endfunction()
  return()
endif()

find_package(Python 3.8 REQUIRED COMPONENTS Interpreter)
set(_glibc_folder ${CMAKE_CURRENT_LIST_DIR})
set(_glibc_stubs ${CMAKE_CURRENT_BINARY_DIR}/glibc-${KERAS_INT8NMT_GLIBC})
execute_process(
  COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/make_glibc_stubs.py ${KERAS_INT8NMT_GLIBC}
          ${_glibc_stubs} ${CMAKE_CXX_COMPILER} ${CMAKE_READELF}
  COMMAND_ERROR_IS_FATAL ANY)

function(for_old_glibc target)
  target_sources(${target} PRIVATE ${_glibc_folder}/newer.cc)
  target_link_options(${target} PRIVATE -L${_glibc_stubs})
endfunction()
