// The vectors and dot products of the instruction set that this file is compiled for.
//
// Everything below is in anonymous namespaces: no function compiled for one set can be linked in
// place of another's.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_SIMD_H_
#define KERAS_INT8NMT_KERNELS_SIMD_SIMD_H_

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#include "simd/vector_avx512.h"
#elif defined(__AVX2__)
#include "simd/vector_avx2.h"
#else
#include "simd/vector_generic.h"
#endif

#if defined(__AVX512VNNI__)
#include "simd/dot_vnni.h"
#else
#include "simd/dot_madd.h"
#endif

#endif  // KERAS_INT8NMT_KERNELS_SIMD_SIMD_H_
