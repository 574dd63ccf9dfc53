// Runs an export with TensorFlow's C library alone: no Python, no protobuf.
//
//   transcribe MODEL INPUTS AUDIO LENGTH SUBMODEL TEXT SCORE STATUS
//
// The last six are the tensors' names, as description.json lists them. INPUTS
// holds rows, width and num_values (int32), the lengths (int32 [rows]), audio
// (float32 [rows, width]) and Submodels (float32 [rows, num_values]). Prints a
// line for each row: status, score and text, with tabs between them.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static void fail(const char *what, const char *why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  exit(1);
}

static void check(const char *what, const TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static void read_exactly(void *to, size_t bytes, FILE *file) {
  if (fread(to, 1, bytes, file) != bytes) fail("inputs", "too short");
}

// A tensor of the given shape, filled from the file.
static TF_Tensor *read_tensor(TF_DataType type, const int64_t *dims, int rank,
                              FILE *file) {
  size_t bytes = TF_DataTypeSize(type);
  for (int i = 0; i < rank; ++i) bytes *= (size_t)dims[i];
  TF_Tensor *tensor = TF_AllocateTensor(type, dims, rank, bytes);
  if (tensor == NULL) fail("inputs", "out of memory");
  read_exactly(TF_TensorData(tensor), bytes, file);
  return tensor;
}

// "name:2" is the third output of the operation "name".
static TF_Output find(TF_Graph *graph, const char *tensor) {
  char name[256];
  const char *colon = strrchr(tensor, ':');
  size_t length = colon ? (size_t)(colon - tensor) : strlen(tensor);
  if (length >= sizeof(name)) fail(tensor, "name too long");
  memcpy(name, tensor, length);
  name[length] = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, name),
                      colon ? atoi(colon + 1) : 0};
  if (output.oper == NULL) fail(tensor, "not in the graph");
  return output;
}

static void print_string(const TF_Tensor *tensor, int row) {
  const TF_TString *text = (const TF_TString *)TF_TensorData(tensor) + row;
  fwrite(TF_StringGetDataPointer(text), 1, TF_StringGetSize(text), stdout);
}

int main(int argc, char **argv) {
  if (argc != 9) {
    fail("usage",
         "transcribe MODEL INPUTS AUDIO LENGTH SUBMODEL TEXT SCORE STATUS");
  }
  FILE *file = fopen(argv[2], "rb");
  if (file == NULL) fail(argv[2], "cannot be opened");
  int32_t header[3];
  read_exactly(header, sizeof(header), file);
  const int64_t rows = header[0];
  const int64_t audio_dims[] = {rows, header[1]};
  const int64_t submodel_dims[] = {rows, header[2]};
  TF_Tensor *length = read_tensor(TF_INT32, &rows, 1, file);
  TF_Tensor *audio = read_tensor(TF_FLOAT, audio_dims, 2, file);
  TF_Tensor *submodel = read_tensor(TF_FLOAT, submodel_dims, 2, file);
  fclose(file);

  TF_Status *status = TF_NewStatus();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Graph *graph = TF_NewGraph();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(argv[1], status);

  const TF_Output inputs[] = {find(graph, argv[3]), find(graph, argv[4]),
                              find(graph, argv[5])};
  const TF_Output outputs[] = {find(graph, argv[6]), find(graph, argv[7]),
                               find(graph, argv[8])};
  TF_Tensor *const fed[] = {audio, length, submodel};
  TF_Tensor *fetched[3] = {NULL, NULL, NULL};
  TF_SessionRun(session, NULL, inputs, fed, 3, outputs, fetched, 3, NULL, 0,
                NULL, status);
  check("the call", status);

  const float *scores = (const float *)TF_TensorData(fetched[1]);
  for (int row = 0; row < rows; ++row) {
    print_string(fetched[2], row);
    printf("\t%.9g\t", scores[row]);
    print_string(fetched[0], row);
    printf("\n");
  }

  for (int i = 0; i < 3; ++i) {
    TF_DeleteTensor(fetched[i]);
    TF_DeleteTensor(fed[i]);
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteGraph(graph);
  TF_DeleteSessionOptions(options);
  TF_DeleteStatus(status);
  return 0;
}
