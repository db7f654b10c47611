/* Names of dtypes that CUDA's libraries share. */
#ifndef QLOOM_TEST_CUDA_LIBRARY_TYPES_H
#define QLOOM_TEST_CUDA_LIBRARY_TYPES_H

typedef enum cudaDataType { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2, CUDA_R_16BF = 14 } cudaDataType;

#endif
