// The few functions of ONNX Runtime's C API that encode.cpp calls.
//
// The API is a table of functions, to which versions only append, so that a place never changes.
// onnxruntime_c_api.h, which names the whole table, comes with the releases of ONNX Runtime, but
// not with its wheel. With that header, use it instead of this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace ort {

constexpr uint32_t kVersion = 14;  // the table of version 14 has all the places below

enum Place {
  kGetErrorMessage = 2,
  kCreateEnv = 3,
  kCreateSession = 7,
  kRun = 9,
  kCreateSessionOptions = 10,
  kSetIntraOpNumThreads = 24,
  kSessionGetInputTypeInfo = 33,
  kCreateTensorWithData = 49,
  kGetTensorMutableData = 51,
  kCastTypeInfoToTensorInfo = 55,
  kGetDimensionsCount = 61,
  kGetDimensions = 62,
  kGetTensorShapeElementCount = 64,
  kGetTensorTypeAndShape = 65,
  kCreateCpuMemoryInfo = 69,
};

constexpr int kWarning = 2;       // level of the log
constexpr int kUint8 = 2;         // type of a tensor's values
constexpr int kArena = 1;         // kind of the allocator
constexpr int kDefaultMemory = 0;

struct Base {
  void* const* (*get_api)(uint32_t version);
  const char* (*version)();
};

class Api {
 public:
  explicit Api(const Base* base) : table_(base->get_api(kVersion)) {
    if (!table_) throw std::runtime_error("this ONNX Runtime is older than 1.14");
  }

  // Calls the function at a place; throws if it returns a status.
  template <class... Arguments>
  void call(Place place, Arguments... arguments) const {
    using Function = void* (*)(Arguments...);
    if (void* status = reinterpret_cast<Function>(table_[place])(arguments...)) {
      using Message = const char* (*)(void*);
      throw std::runtime_error(reinterpret_cast<Message>(table_[kGetErrorMessage])(status));
    }
  }

 private:
  void* const* table_;
};

}  // namespace ort
