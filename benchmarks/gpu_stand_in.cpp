// A stand-in for CUDA's libraries, for benchmarks/check_gpu.py: it says that there is an H200, computes
// nothing, and keeps book of kernels, streams, events and captures. Device memory is the host's.
// What a capture forbids is answered with CUDA's error and written to GPU_BOOK, a line each:
//   forbidden WHAT
//   graph KERNELS STREAMS
// Rules: CUDA Programming Guide, "Creating a Graph Using Stream Capture".

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>

#define API extern "C" __attribute__((visibility("default")))
#define LOCKED std::lock_guard<std::recursive_mutex> locked(mutex)

static std::recursive_mutex mutex;

// ---- The book

typedef std::map<void*, long> Clock;  // how much of each stream's work comes before
struct Capture { void* origin; bool open; bool broken; long kernels; };
struct Stream { Capture* capture; Clock clock; };
struct Event { Capture* capture; Clock clock; bool recorded; };

static Stream legacy;  // the default stream
static std::set<void*> streams;
static Capture* capturing;
static cudaError_t last = cudaSuccess;
static thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;

static FILE* book() {
  static FILE* file = fopen(getenv("GPU_BOOK"), "a");
  setvbuf(file, nullptr, _IOLBF, 0);
  return file;
}
static Stream* of(void* stream) {
  return (size_t)stream <= 2 ? &legacy : (Stream*)stream;
}
static bool captured(Stream* stream) { return stream->capture && stream->capture->open; }
static cudaError_t forbidden(const char* what, cudaError_t error) {
  fprintf(book(), "forbidden %s\n", what);
  if (capturing) capturing->broken = true;
  return last = error;
}
// Some work on a stream. Beside a capture it would be lost: a graph does not replay it.
static cudaError_t work(void* stream) {
  LOCKED;
  Stream* s = of(stream);
  if (captured(s)) { s->capture->kernels++; s->clock[stream]++; return cudaSuccess; }
  return capturing ? forbidden("work beside the capture", cudaErrorStreamCaptureImplicit) : cudaSuccess;
}
// A call that is refused while any thread captures, unless this thread has relaxed the rule.
static cudaError_t unsafe(const char* what) {
  LOCKED;
  if (!capturing || mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  return forbidden(what, cudaErrorStreamCaptureUnsupported);
}
static cudaError_t wait(const char* what, Stream* stream) {
  LOCKED;
  return captured(stream) ? forbidden(what, cudaErrorStreamCaptureUnsupported) : unsafe(what);
}

// ---- Streams, events, captures

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  LOCKED; *stream = (cudaStream_t) new Stream(); streams.insert(*stream); return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned f) { return cudaStreamCreateWithPriority(s, f, 0); }
API cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) { *priority = 0; return cudaSuccess; }
API cudaError_t cudaStreamSynchronize(cudaStream_t s) { return wait("cudaStreamSynchronize", of(s)); }
API cudaError_t cudaStreamQuery(cudaStream_t s) { return wait("cudaStreamQuery", of(s)); }
API cudaError_t cudaDeviceSynchronize() {
  LOCKED; return capturing ? forbidden("cudaDeviceSynchronize", cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { *e = (cudaEvent_t) new Event(); return cudaSuccess; }
API cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
API cudaError_t cudaEventDestroy(cudaEvent_t e) { delete (Event*)e; return cudaSuccess; }
API cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  LOCKED; *(Event*)e = Event{captured(of(s)) ? of(s)->capture : nullptr, of(s)->clock, true}; return cudaSuccess;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned) { return cudaEventRecord(e, s); }
static cudaError_t look(const char* what, Event* e) {
  LOCKED; return e->capture && e->capture->open ? forbidden(what, cudaErrorCapturedEvent) : unsafe(what);
}
API cudaError_t cudaEventQuery(cudaEvent_t e) { return look("cudaEventQuery", (Event*)e); }
API cudaError_t cudaEventSynchronize(cudaEvent_t e) { return look("cudaEventSynchronize", (Event*)e); }
API cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { *ms = 0.01f; return cudaSuccess; }
API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  LOCKED;
  Event* e = (Event*)event; Stream* s = of(stream);
  bool inside = e->capture && e->capture->open;
  if (inside && s == &legacy) return forbidden("the default stream in a capture", cudaErrorStreamCaptureImplicit);
  if (!inside && e->recorded && captured(s)) return forbidden("an event of before the capture", cudaErrorStreamCaptureIsolation);
  if (inside && !captured(s)) *s = Stream{e->capture, {{stream, 0}}};  // it joins the capture
  for (auto& [other, n] : e->clock) if (s->clock[other] < n) s->clock[other] = n;
  return cudaSuccess;
}
API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  LOCKED;
  if (of(stream) == &legacy || capturing) return forbidden("such a capture", cudaErrorStreamCaptureUnsupported);
  capturing = new Capture{stream, true, false, 0};
  *of(stream) = Stream{capturing, {{stream, 0}}};
  return cudaSuccess;
}
API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* m) { std::swap(mode, *m); return cudaSuccess; }
API cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* status) {
  LOCKED; *status = captured(of(s)) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone; return cudaSuccess;
}
API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph, const cudaGraphNode_t** before, const cudaGraphEdgeData** edges, size_t* n) {
  LOCKED;
  cudaStreamIsCapturing(s, status);
  if (id) *id = (unsigned long long)of(s)->capture;
  if (graph) *graph = (cudaGraph_t)of(s)->capture;
  if (before) *before = nullptr;
  if (edges) *edges = nullptr;
  if (n) *n = 0;
  return cudaSuccess;
}
API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  LOCKED;
  if (!capturing || capturing->origin != stream) return forbidden("the end of no capture", cudaErrorIllegalState);
  Capture* made = capturing;
  cudaError_t error = made->broken ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  long used = 0;
  for (void* other : streams) {
    Stream* s = of(other);
    if (s->capture != made) continue;
    used += s->clock[other] > 0;
    if (of(stream)->clock[other] < s->clock[other]) error = forbidden("a stream that is not joined", cudaErrorStreamCaptureUnjoined);
  }
  for (void* other : streams) if (of(other)->capture == made) of(other)->capture = nullptr;
  fprintf(book(), "graph %ld %ld\n", made->kernels, used);
  made->open = false; capturing = nullptr;
  *graph = error ? nullptr : (cudaGraph_t)made;
  return last = error;
}
API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* ready, cudaGraph_t graph, unsigned long long) {
  *ready = (cudaGraphExec_t)graph; return cudaSuccess;
}
API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* n) { *n = ((Capture*)graph)->kernels; return cudaSuccess; }
API cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t s) { return work(s); }

// ---- Kernels: CUDA's own way of calling them, the driver's, and libraries

struct Call { dim3 grid, block; size_t shared; void* stream; };
static thread_local Call call;
API unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t n, CUstream_st* s) { call = Call{g, b, n, s}; return 0; }
API cudaError_t __cudaPopCallConfiguration(dim3* g, dim3* b, size_t* n, void* s) {
  *g = call.grid; *b = call.block; *n = call.shared; *(void**)s = call.stream; return cudaSuccess;
}
API void** __cudaRegisterFatBinary(void*) { static void* handle; return &handle; }
API char __cudaInitModule(void**) { return 1; }
API cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) { *kernel = (cudaKernel_t)function; return cudaSuccess; }
API cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t s) { return work(s); }
API cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t s) { return work(s); }
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void*, void**) { return work(config->stream); }
API CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream s, void**, void**) { return (CUresult)work(s); }
API CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction, void**, void**) { return (CUresult)work(config->hStream); }
API CUresult cuModuleGetFunction(CUfunction* f, CUmodule, const char* name) { *f = (CUfunction)strdup(name); return CUDA_SUCCESS; }
API CUresult cuModuleLoadData(CUmodule* module, const void*) { *module = (CUmodule)1; return CUDA_SUCCESS; }
API CUresult cuFuncGetAttribute(int* value, CUfunction_attribute, CUfunction) { *value = 32; return CUDA_SUCCESS; }
API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, const void*) {
  *a = {}; a->maxThreadsPerBlock = 1024; a->numRegs = 32; a->ptxVersion = a->binaryVersion = 90; return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void*, int block, size_t, unsigned) { *n = 2048 / block; return cudaSuccess; }
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, CUfunction, int block, size_t) { *n = 2048 / block; return CUDA_SUCCESS; }

#define LIBRARY(name) /* a handle with a stream */ \
  static void* name##Stream; \
  API int name##SetStream(void*, void* s) { name##Stream = s; return 0; } \
  API int name##GetStream(void*, void** s) { *s = name##Stream; return 0; }
LIBRARY(cublas) LIBRARY(cudnn)
API int cublasSetStream_v2(void* h, void* s) { return cublasSetStream(h, s); }
API int cublasGetStream_v2(void* h, void** s) { return cublasGetStream(h, s); }
#define CREATE(name) API int name(void** made) { *made = calloc(1, 4096); return 0; }
CREATE(cublasCreate_v2) CREATE(cublasLtMatmulDescCreate) CREATE(cublasLtMatmulPreferenceCreate) CREATE(cublasLtMatrixLayoutCreate) CREATE(cudnnCreate)
#define PRODUCT(name) API int name() { return work(cublasStream); }
PRODUCT(cublasSgemm_v2) PRODUCT(cublasGemmEx) PRODUCT(cublasGemmStridedBatchedEx) PRODUCT(cublasSgemmStridedBatched) PRODUCT(cublasSgemv_v2)
static int math, pointers;
API int cublasSetMathMode(void*, int m) { math = m; return 0; }
API int cublasGetMathMode(void*, int* m) { *m = math; return 0; }
API int cublasSetPointerMode_v2(void*, int m) { pointers = m; return 0; }
API int cublasGetPointerMode_v2(void*, int* m) { *m = pointers; return 0; }
API int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void* found, int* n) { memset(found, 0, 64); *n = 1; return 0; }
API int cublasLtMatmul(void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, size_t, void* s) { return work(s); }
API size_t cudnnGetVersion() { return 92000; }
API size_t cudnnGetCudartVersion() { return 13000; }
API int cudnnBackendCreateDescriptor(int, void** made) { *made = calloc(1, 4096); return 0; }
API int cudnnBackendGetAttribute(void*, int, int type, long wanted, long* n, void* out) {  // one engine, workspace 0
  const int numbers = 3, descriptors = 15;
  if (type == numbers && out && wanted > 0) memset(out, 0, 8 * wanted);
  if (n) *n = type == numbers || type == descriptors;
  return 0;
}
API int cudnnBackendExecute(void*, void*, void*) { return work(cudnnStream); }

// ---- Memory

static std::map<char*, size_t> on_device, pinned;
static bool within(std::map<char*, size_t>& blocks, const void* at) {
  auto next = blocks.upper_bound((char*)at);
  return next != blocks.begin() && (char*)at < std::prev(next)->first + std::prev(next)->second;
}
static cudaError_t allocate(std::map<char*, size_t>& blocks, void** at, size_t n, const char* what) {
  LOCKED;
  if (auto error = unsafe(what)) return error;
  size_t used = n;
  for (auto& block : blocks) used += block.second;
  if (&blocks == &on_device && getenv("GPU_MEMORY") && used > (size_t)atol(getenv("GPU_MEMORY"))) return last = cudaErrorMemoryAllocation;
  if (posix_memalign(at, 4096, n ? n : 1)) return last = cudaErrorMemoryAllocation;
  memset(*at, 0, n); blocks[(char*)*at] = n;
  return cudaSuccess;
}
static cudaError_t release(std::map<char*, size_t>& blocks, void* at, const char* what) {
  LOCKED; if (auto error = unsafe(what)) return error; blocks.erase((char*)at); free(at); return cudaSuccess;
}
API cudaError_t cudaMalloc(void** at, size_t n) { return allocate(on_device, at, n, "cudaMalloc"); }
API cudaError_t cudaFree(void* at) { return at ? release(on_device, at, "cudaFree") : cudaSuccess; }
API cudaError_t cudaHostAlloc(void** at, size_t n, unsigned) { return allocate(pinned, at, n, "cudaHostAlloc"); }
API cudaError_t cudaFreeHost(void* at) { return release(pinned, at, "cudaFreeHost"); }
API cudaError_t cudaMemGetInfo(size_t* left, size_t* all) { *all = 150ull << 30; *left = 140ull << 30; return cudaSuccess; }
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* at) {
  LOCKED; *a = {};
  a->type = within(on_device, at) ? cudaMemoryTypeDevice : within(pinned, at) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  a->devicePointer = (void*)at; a->hostPointer = (void*)at;
  return cudaSuccess;
}
API cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t n, cudaMemcpyKind, cudaStream_t s) {
  LOCKED; auto error = work(s); if (!error && !captured(of(s))) memmove(to, from, n); return error;
}
API cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind) {
  if (auto error = unsafe("cudaMemcpy")) return error;
  memmove(to, from, n);
  return cudaSuccess;
}
API cudaError_t cudaMemsetAsync(void* at, int value, size_t n, cudaStream_t s) {
  LOCKED; auto error = work(s); if (!error && !captured(of(s))) memset(at, value, n); return error;
}
API cudaError_t cudaGetSymbolAddress(void** at, const void*) { static char room[1 << 16]; *at = room; return cudaSuccess; }

// ---- The device: an H200, as far as torch, inductor and Triton ask

static int attribute(int which) {
  switch (which) {
    case cudaDevAttrMaxThreadsPerBlock: return 1024;
    case cudaDevAttrWarpSize: return 32;
    case cudaDevAttrMultiProcessorCount: return 132;
    case cudaDevAttrMaxThreadsPerMultiProcessor: return 2048;
    case cudaDevAttrMaxSharedMemoryPerBlock: return 49152;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: return 232448;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: return 233472;
    case cudaDevAttrMaxRegistersPerBlock: case cudaDevAttrMaxRegistersPerMultiprocessor: return 65536;
    case cudaDevAttrClockRate: return 1980000;
    case cudaDevAttrMemoryClockRate: return 3201000;
    case cudaDevAttrGlobalMemoryBusWidth: return 6144;
    case cudaDevAttrComputeCapabilityMajor: return 9;
    case cudaDevAttrComputeCapabilityMinor: return 0;
    default: return 1;
  }
}
API cudaError_t cudaGetDeviceCount(int* n) { *n = 1; return cudaSuccess; }
API cudaError_t cudaGetDevice(int* device) { *device = 0; return cudaSuccess; }
API cudaError_t cudaDriverGetVersion(int* version) { *version = 13000; return cudaSuccess; }
API cudaError_t cudaRuntimeGetVersion(int* version) { *version = 13000; return cudaSuccess; }
API cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* most) { *least = 0; *most = -5; return cudaSuccess; }
API cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { *can = 0; return cudaSuccess; }
API cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) { *value = attribute(which); return cudaSuccess; }
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  *p = {}; strcpy(p->name, "no GPU");
  p->major = 9; p->warpSize = 32; p->multiProcessorCount = 132; p->totalGlobalMem = 150ull << 30; p->l2CacheSize = 60 << 20;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024; p->maxThreadsDim[2] = 64; p->maxThreadsPerMultiProcessor = 2048;
  p->maxGridSize[0] = 2147483647; p->maxGridSize[1] = p->maxGridSize[2] = 65535; p->maxBlocksPerMultiProcessor = 32;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536; p->sharedMemPerBlock = 49152; p->sharedMemPerBlockOptin = 232448; p->sharedMemPerMultiprocessor = 233472;
  return cudaSuccess;
}
API cudaError_t cudaGetLastError() { auto error = last; last = cudaSuccess; return error; }
API cudaError_t cudaPeekAtLastError() { return last; }
API const char* cudaGetErrorString(cudaError_t error) { static thread_local char text[32]; snprintf(text, 32, "CUDA error %d", error); return text; }
API const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }
API CUresult cuDeviceGet(CUdevice* device, int) { *device = 0; return CUDA_SUCCESS; }
API CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice) { *value = attribute(which); return CUDA_SUCCESS; }
API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* flags, int* active) { *flags = 0; *active = 1; return CUDA_SUCCESS; }
API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) { *context = (CUcontext)1; return CUDA_SUCCESS; }
API CUresult cuCtxGetCurrent(CUcontext* context) { *context = (CUcontext)1; return CUDA_SUCCESS; }
API CUresult cuCtxGetLimit(size_t* value, CUlimit) { *value = 1024; return CUDA_SUCCESS; }
API CUresult cuPointerGetAttribute(void* value, CUpointer_attribute which, CUdeviceptr at) {
  if (which == CU_POINTER_ATTRIBUTE_DEVICE_POINTER) *(CUdeviceptr*)value = at; else *(int*)value = 0;
  return CUDA_SUCCESS;
}
static CUresult nothing() { return CUDA_SUCCESS; }
API cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* found) {
  void* ours = dlsym(RTLD_DEFAULT, name);
  *function = ours ? ours : (void*)nothing;
  if (found) *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
