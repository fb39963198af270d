// One recurrent layer in one direction: its packed weights, and its evaluation as one node of the tape.
// Internal to core/; shared by the stack (recurrent.cpp) and the stream (stream.cpp).
#pragma once

#include <vector>

#include "backend/recurrent.h"
#include "core/tensor_impl.h"
#include "rnncore/recurrent.hpp"

namespace rnncore {

struct LayerParameters {
  Tensor weight_ih, weight_hh, bias_ih, bias_hh;  // biases undefined when the spec has none
  Tensor unit;                                    // weights of one unit each (peepholes), undefined without
  Tensor norm_ih, norm_hh, norm_c, norm_bias_c;   // of layer normalisation, undefined without
  Tensor weight_hr;                               // (R, H) of a projection, or undefined
  std::vector<Tensor> weight_delay;               // (G*H, R), one per delay
  Tensor h_0, c_0;                                // (R), (H), or undefined; not inputs of the layer's node
  // Every weight, in the order of the node's inputs.
  std::vector<Tensor*> all() {
    std::vector<Tensor*> tensors = {&weight_ih, &weight_hh, &bias_ih, &bias_hh,     &unit,
                                    &norm_ih,   &norm_hh,   &norm_c,  &norm_bias_c, &weight_hr};
    for (Tensor& t : weight_delay) tensors.push_back(&t);
    return tensors;
  }
};
// What joins a layer to the one below; each undefined where it is not needed.
struct ConnectionParameters {
  Tensor weight_skip, weight_highway, bias_highway;
};
struct StackParameters {
  std::vector<LayerParameters> layers;            // one per (layer, direction), layer-major
  std::vector<ConnectionParameters> connections;  // one per layer
};
// The list that parameters_of(spec) describes, by use. The list was checked.
StackParameters split_parameters(const RecurrentSpec& spec, const std::vector<Tensor>& parameters);
// Count, shapes, one float dtype for all.
void check_parameters(const char* operation, const RecurrentSpec& spec, const std::vector<Tensor>& parameters);

// The cached packed copies of the weights that forward (or backward) needs.
backend::RecurrentWeights forward_weights(const LayerSpec& layer, const LayerParameters& p);
backend::RowStack::Layer row_layer(const LayerSpec& layer, const LayerParameters& p);
void add_backward_weights(const LayerSpec& layer, const LayerParameters& p, bool want_dx,
                          backend::RecurrentWeights& weights);
void forget_forward_weights(const LayerSpec& layer, const LayerParameters& p, std::int64_t rows);

// The states of one layer and direction. past (d_max - 1, N, R): h of two steps ago, three steps ago, ...
struct LayerState {
  Tensor h, c, past;
};
struct LayerResult {
  Tensor y;
  LayerState state;
};
// What a layer reads: x (T, N, I), or ids (T, N) with x as the embedding matrix (V, I).
struct LayerInput {
  Tensor x, ids;
  LayerState start;            // each or undefined: zeros
  bool own_reset = false;      // resets lead to `reset` and a past of zeros, else to `start`
  LayerState reset;            // h (N, R) and c (N, H), or undefined: zeros
  Tensor lengths, reset_mask;  // or undefined
  bool reverse = false;
  Tensor running;                  // (T, N, H): 0 where a unit keeps its state (clockwork groups); or undefined
  Generator* generator = nullptr;  // set in training alone: draws the masks that the layer's options ask for
  Tensor* gates = nullptr;         // not null: receives the gates' values (T, N, G*H); not with layer normalisation
};
// Arguments are checked by the caller.
LayerResult recurrent_layer(const LayerSpec& layer, const LayerParameters& p, const LayerInput& input);

}  // namespace rnncore
