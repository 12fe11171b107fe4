# Each test runs once per instruction set. A set that this CPU has not is named and skipped by the
# test itself (exit code 77).
set(_tests ${PROJECT_SOURCE_DIR}/tests/cc)
set(_isas ${KERAS_INT8NMT_ISAS})
# What holds oneDNN to no more than the set; a set without a word of it here takes what the CPU has.
set(_onednn_generic SSE41)
set(_onednn_avx2 AVX2)
set(_onednn_avx_vnni AVX2_VNNI)
set(_onednn_avx512 AVX512_CORE)
set(_onednn_avx512_vnni AVX512_CORE_VNNI)

# <name>_<isa> for each set; further arguments are the program's.
function(add_tests name program)
  foreach(_isa ${_isas})
    if(NOT _onednn_${_isa})
      set(_onednn_${_isa} DEFAULT)
    endif()
    add_test(NAME ${name}_${_isa} COMMAND ${program} ${ARGN})
    set_tests_properties(${name}_${_isa} PROPERTIES
      SKIP_RETURN_CODE 77
      ENVIRONMENT "KERAS_INT8NMT_ISA=${_isa};ONEDNN_MAX_CPU_ISA=${_onednn_${_isa}};KERAS_INT8NMT_MKL=${MKL_LIBRARY}")
  endforeach()
endfunction()

set(_test_options -O2 -ffp-contract=off -Wall -Wextra)
if(KERAS_INT8NMT_SANITIZE)
  list(TRANSFORM _test_options REPLACE -O2 -O1)
endif()

# Programs of tests/cc. oneDNN does not lie beside them, so they bring it along.
function(add_programs)
  foreach(_name ${ARGN})
    add_executable(${_name}_test ${_tests}/${_name}_test.cc)
    target_compile_options(${_name}_test PRIVATE ${_test_options})
    target_link_libraries(${_name}_test PRIVATE keras_int8nmt_decoder)
    if(ONEDNN_FOUND)
      target_link_libraries(${_name}_test PRIVATE -Wl,--no-as-needed ${ONEDNN_LIBRARY}
                            ${GOMP_LIBRARY} -Wl,--as-needed)
    endif()
  endforeach()
endfunction()

# Independent of the instruction set.
add_executable(topology_test ${_tests}/topology_test.cc decoder/topology.cc
               decoder/affinity.cc)
target_include_directories(topology_test PRIVATE decoder)
target_compile_options(topology_test PRIVATE ${_test_options})
add_test(NAME topology COMMAND topology_test)
add_programs(decoder)
# libgomp tells the thread sanitizer nothing of its locks, so only what never calls it is watched,
# and of that only what has threads, which do the same on every set.
if(KERAS_INT8NMT_SANITIZE STREQUAL "thread")
  add_test(NAME decoder_streams COMMAND decoder_test streams)
  return()
endif()
add_tests(decoder_streams decoder_test streams)

add_programs(kernels gemm float_gemm toy_backend choice)
add_tests(kernels kernels_test)
if(KERAS_INT8NMT_FLAGS_avx2)
  target_sources(gemm_test PRIVATE ${_tests}/wide_madd.cc)
  set_source_files_properties(${_tests}/wide_madd.cc PROPERTIES
    COMPILE_OPTIONS "${KERAS_INT8NMT_FLAGS_avx2}")
  target_compile_definitions(gemm_test PRIVATE KERAS_INT8NMT_WITH_WIDE_MADD)
endif()
add_tests(gemm gemm_test)
add_tests(float_gemm float_gemm_test)
add_test(NAME toy_backend COMMAND toy_backend_test)
add_tests(choice choice_test)
add_test(NAME choice_forced COMMAND choice_test forced)
# Minutes under a sanitizer; what differs between sets are kernels, which are watched for each.
if(KERAS_INT8NMT_SANITIZE)
  add_test(NAME decoder_searches COMMAND decoder_test searches)
  # It takes longest: begun first it has company to its end.
  set_tests_properties(decoder_searches PROPERTIES COST 1000)
else()
  add_tests(decoder_searches decoder_test searches)
endif()
# The same for every set.
add_test(NAME decoder_specs COMMAND decoder_test specs)
if(ONEDNN_FOUND)
  # It looks at oneDNN's own sums, too.
  target_include_directories(gemm_test PRIVATE ${ONEDNN_INCLUDE_DIR})
endif()

# With the C functions, which fail as the decoder does.
add_executable(allocation_test ${_tests}/allocation_test.cc core/decoder_api.cc core/errors.cc)
target_include_directories(allocation_test PRIVATE core)
target_compile_options(allocation_test PRIVATE ${_test_options})
target_link_libraries(allocation_test PRIVATE keras_int8nmt_decoder)
add_test(NAME allocations COMMAND allocation_test)

# The core as it is loaded, on models and answers in folders that its caller names.
if(TARGET keras_int8nmt_core)
  add_executable(spec_answers_test ${_tests}/spec_answers_test.cc)
  target_include_directories(spec_answers_test PRIVATE core decoder kernels)
  target_compile_options(spec_answers_test PRIVATE ${_test_options})
  target_link_libraries(spec_answers_test PRIVATE keras_int8nmt_core)
endif()

# The vectors of each set, compiled with its flags; the program that calls them is not.
foreach(_isa ${_isas})
  add_library(vectors_${_isa} OBJECT ${_tests}/vectors_checks.cc)
  target_compile_options(vectors_${_isa} PRIVATE ${KERAS_INT8NMT_FLAGS_${_isa}} ${_test_options})
  target_compile_definitions(vectors_${_isa} PRIVATE SET_HEADER="simd/${_isa}.h")
  target_include_directories(vectors_${_isa} PRIVATE kernels)
  add_executable(vectors_${_isa}_test ${_tests}/vectors_test.cc $<TARGET_OBJECTS:vectors_${_isa}>)
  target_compile_options(vectors_${_isa}_test PRIVATE ${_test_options})
  target_compile_definitions(vectors_${_isa}_test PRIVATE SET_NAME="${_isa}")
  target_link_libraries(vectors_${_isa}_test PRIVATE keras_int8nmt_kernels)
  add_test(NAME vectors_${_isa} COMMAND vectors_${_isa}_test)
  set_tests_properties(vectors_${_isa} PROPERTIES SKIP_RETURN_CODE 77)
endforeach()

# ---- fuzzing: each target runs its corpus and mutations of it, under the sanitizer that was asked
# for: without one little would be noticed. With clang, KERAS_INT8NMT_LIBFUZZER=ON has libFuzzer drive
# them.
option(KERAS_INT8NMT_LIBFUZZER "Link the fuzz targets with clang's libFuzzer" OFF)
if(NOT KERAS_INT8NMT_SANITIZE AND NOT KERAS_INT8NMT_LIBFUZZER)
  return()
endif()
set(KERAS_INT8NMT_FUZZ_SECONDS 5 CACHE STRING "How long ctest runs each fuzz target")
set(_fuzz ${_tests}/fuzz)
# Ops and core are two libraries with functions of the same names, here as elsewhere; the ops run
# over as much of TensorFlow's C API as they use.
file(GLOB _fuzzed_core CONFIGURE_DEPENDS core/*.cc)
file(GLOB _fuzzed_ops CONFIGURE_DEPENDS ops/*.cc)
add_library(fuzzed_core SHARED ${_fuzzed_core} ${_build_id})
target_include_directories(fuzzed_core PRIVATE core ${CMAKE_CURRENT_BINARY_DIR}/generated)
target_link_libraries(fuzzed_core PRIVATE keras_int8nmt_decoder)
target_link_options(fuzzed_core PRIVATE -Wl,-Bsymbolic
                    "-Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/core/exports.map")
foreach(_target ops model packed functions)
  add_executable(${_target}_fuzz ${_fuzz}/${_target}_fuzz.cc)
  target_include_directories(${_target}_fuzz PRIVATE kernels decoder core ops ${_fuzz}
                             ${CMAKE_CURRENT_BINARY_DIR}/generated)
  target_compile_options(${_target}_fuzz PRIVATE ${_test_options})
  if(KERAS_INT8NMT_LIBFUZZER)
    target_compile_options(${_target}_fuzz PRIVATE -fsanitize=fuzzer)
    target_link_options(${_target}_fuzz PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${_target}_fuzz PRIVATE ${_fuzz}/driver.cc)
    add_test(NAME fuzz_${_target} COMMAND ${_target}_fuzz
             --seconds=${KERAS_INT8NMT_FUZZ_SECONDS} ${_fuzz}/corpus/${_target})
  endif()
endforeach()
target_sources(ops_fuzz PRIVATE ${_fuzz}/fake_tensorflow.cc ${_fuzzed_ops} ${_build_id})
target_link_libraries(ops_fuzz PRIVATE fuzzed_core Threads::Threads)
target_sources(functions_fuzz PRIVATE
  core/library.cc core/choice_api.cc core/errors.cc core/shared_threads.cc ${_build_id})
foreach(_target model packed functions)
  target_link_libraries(${_target}_fuzz PRIVATE keras_int8nmt_decoder)
endforeach()
if(ONEDNN_FOUND)
  foreach(_target ops model packed functions)
    target_link_libraries(${_target}_fuzz PRIVATE -Wl,--no-as-needed ${ONEDNN_LIBRARY}
                          ${GOMP_LIBRARY} -Wl,--as-needed)
  endforeach()
endif()
