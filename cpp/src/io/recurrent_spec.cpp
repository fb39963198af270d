#include "io/recurrent_spec.h"

#include "io/cell_options.h"

namespace rnncore {
namespace io {
namespace {

Json layer_to_json(const LayerSpec& layer) {
  Json json = {{"cell", name_of(layer.cell)}, {"hidden_size", layer.hidden_size}};
  if (!is_plain(layer.options)) json["options"] = options_to_json(layer.options);
  if (!layer.delays.empty()) json["delays"] = layer.delays;
  if (layer.period != 1) json["period"] = layer.period;
  if (layer.proj_size != 0) json["proj_size"] = layer.proj_size;
  return json;
}

LayerSpec layer_from_json(const Json& value, const std::string& where) {
  ObjectReader reader(value, where);
  LayerSpec layer;
  layer.cell = cell_from_name(reader.string("cell"));
  layer.hidden_size = reader.integer("hidden_size");
  if (reader.has("options")) layer.options = options_from_json(reader.field("options"), reader.path_to("options"));
  if (reader.has("delays")) {
    for (const Json& delay : reader.array("delays")) {
      if (!delay.is_number_integer() || delay.get<std::int64_t>() < 0)
        throw JsonError(reader.path_to("delays") + ": expected numbers of steps, got " + describe(delay));
      layer.delays.push_back(delay.get<std::int64_t>());
    }
  }
  if (reader.has("period")) layer.period = reader.integer("period");
  if (reader.has("proj_size")) layer.proj_size = reader.integer("proj_size");
  reader.finish();
  return layer;
}

}  // namespace

Json recurrent_to_json(const RecurrentSpec& spec) {
  Json layers = Json::array();
  for (const LayerSpec& layer : spec.layers) layers.push_back(layer_to_json(layer));
  Json json = {{"input_size", spec.input_size},
               {"layers", std::move(layers)},
               {"bias", spec.bias},
               {"bidirectional", spec.bidirectional},
               {"dropout", spec.dropout}};
  if (spec.merge != Merge::concat) json["merge"] = name_of(spec.merge);
  if (spec.connection != Connection::none) json["connection"] = name_of(spec.connection);
  for (const auto& [key, value] : {std::pair{"reverse", spec.reverse},
                                   {"learn_initial_state", spec.learn_initial_state},
                                   {"same_mask", spec.same_mask}})
    if (value) json[key] = true;
  for (const auto& [key, value] : {std::pair{"input_dropout", spec.input_dropout},
                                   {"output_dropout", spec.output_dropout},
                                   {"weight_drop", spec.weight_drop}})
    if (value != 0.0) json[key] = value;
  return json;
}

RecurrentSpec recurrent_from_json(const Json& value, const std::string& where) {
  ObjectReader reader(value, where);
  RecurrentSpec spec;
  spec.input_size = reader.integer("input_size");
  const Json& layers = reader.array("layers");
  for (std::size_t i = 0; i < layers.size(); ++i)
    spec.layers.push_back(layer_from_json(layers[i], reader.path_to("layers") + "[" + std::to_string(i) + "]"));
  spec.bias = reader.boolean("bias");
  spec.bidirectional = reader.boolean("bidirectional");
  spec.dropout = reader.number("dropout");
  if (reader.has("merge")) spec.merge = merge_from_name(reader.string("merge"));
  if (reader.has("connection")) spec.connection = connection_from_name(reader.string("connection"));
  if (reader.has("reverse")) spec.reverse = reader.boolean("reverse");
  if (reader.has("learn_initial_state")) spec.learn_initial_state = reader.boolean("learn_initial_state");
  if (reader.has("same_mask")) spec.same_mask = reader.boolean("same_mask");
  if (reader.has("input_dropout")) spec.input_dropout = reader.number("input_dropout");
  if (reader.has("output_dropout")) spec.output_dropout = reader.number("output_dropout");
  if (reader.has("weight_drop")) spec.weight_drop = reader.number("weight_drop");
  reader.finish();
  return spec;
}

}  // namespace io

std::string to_json(const RecurrentSpec& spec) {
  check(spec);
  return io::dump_json(io::recurrent_to_json(spec));
}

RecurrentSpec recurrent_spec_from_json(const std::string& json) {
  try {
    RecurrentSpec spec = io::recurrent_from_json(io::parse_json(json), "");
    check(spec);
    return spec;
  } catch (const io::JsonError& e) {
    throw ArgumentError(std::string("[recurrent] ") + e.what());
  }
}

}  // namespace rnncore
