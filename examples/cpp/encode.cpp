// Codes of raw images in C++, with ONNX Runtime alone.
//
//     rl-vae export models/car --out encoder.onnx
//     g++ -std=c++17 -O2 encode.cpp -o encode -ldl
//     ./encode libonnxruntime.so encoder.onnx < images.raw > codes.raw
//
// images.raw holds images as bytes, one after the other, each in the shape that the environment
// gives, such as 96 x 96 x 3. codes.raw gets mu, float32, in the same order. The wheel of
// onnxruntime has the library: onnxruntime/capi/libonnxruntime.so.*
#include <dlfcn.h>

#include <cstdio>
#include <iterator>
#include <vector>

#include "ort_functions.h"

namespace {

int run(const char* library, const char* model) {
  // Open the library and the model
  void* handle = dlopen(library, RTLD_NOW);
  if (!handle) throw std::runtime_error(dlerror());
  auto get_base = reinterpret_cast<const ort::Base* (*)()>(dlsym(handle, "OrtGetApiBase"));
  if (!get_base) throw std::runtime_error("the library is no ONNX Runtime");
  const ort::Api api(get_base());
  void *env, *options, *session, *memory;
  api.call(ort::kCreateEnv, ort::kWarning, "encode", &env);
  api.call(ort::kCreateSessionOptions, &options);
  api.call(ort::kSetIntraOpNumThreads, options, 1);
  api.call(ort::kCreateSession, env, model, options, &session);
  api.call(ort::kCreateCpuMemoryInfo, ort::kArena, ort::kDefaultMemory, &memory);

  // Shape of an image: the input's, without the batch
  void* type;
  const void* input;
  size_t n_sides;
  api.call(ort::kSessionGetInputTypeInfo, session, size_t{0}, &type);
  api.call(ort::kCastTypeInfoToTensorInfo, type, &input);
  api.call(ort::kGetDimensionsCount, input, &n_sides);
  std::vector<int64_t> shape(n_sides);
  api.call(ort::kGetDimensions, input, shape.data(), n_sides);
  size_t size = 1;
  for (size_t side = 1; side < n_sides; ++side) size *= shape[side];

  // A tensor over the bytes of one image
  std::vector<uint8_t> image(size);
  shape[0] = 1;
  void* value;
  api.call(ort::kCreateTensorWithData, static_cast<const void*>(memory),
           static_cast<void*>(image.data()), size, static_cast<const int64_t*>(shape.data()),
           n_sides, ort::kUint8, &value);

  // Encode each image, as a program that steps an environment does
  const char *inputs[] = {"observation"}, *outputs[] = {"mu"};
  void* mu = nullptr;  // made by the first call, and filled again by the others
  size_t n_latents = 0;
  while (size_t n = fread(image.data(), 1, size, stdin)) {
    if (n != size) throw std::runtime_error("the last image is not whole");
    api.call(ort::kRun, session, static_cast<const void*>(nullptr), std::begin(inputs), &value,
             size_t{1}, std::begin(outputs), size_t{1}, &mu);
    if (!n_latents) {
      void* info;
      api.call(ort::kGetTensorTypeAndShape, mu, &info);
      api.call(ort::kGetTensorShapeElementCount, info, &n_latents);
    }
    void* numbers;
    api.call(ort::kGetTensorMutableData, mu, &numbers);
    fwrite(numbers, sizeof(float), n_latents, stdout);
  }
  return 0;  // the system frees what the program opened
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3) throw std::runtime_error("usage: encode LIBRARY MODEL < IMAGES > CODES");
    return run(argv[1], argv[2]);
  } catch (const std::exception& error) {
    fprintf(stderr, "encode: %s\n", error.what());
    return 1;
  }
}
