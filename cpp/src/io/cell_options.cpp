// {"activations": {"gate": {"alpha": 0.2, "beta": 0.5, "kind": "hard-sigmoid"}}, "clip": 3.0, "peephole": true}
#include "io/cell_options.h"

#include <cmath>

#include "rnncore/error.hpp"

namespace rnncore {
namespace io {
namespace {

// One list of every option, for both directions: visit(key, member) for plain values.
template <class Options, class Visit>
void visit_options(Options& o, const Visit& visit) {
  visit("clip", o.clip);
  visit("zoneout_h", o.zoneout_h);
  visit("zoneout_c", o.zoneout_c);
  visit("state_dropout", o.state_dropout);
  visit("layer_norm", o.layer_norm);
  visit("leak", o.leak);
  visit("group_periods", o.group_periods);
  visit("peephole", o.peephole);
  visit("coupled", o.coupled);
  visit("forget_gate", o.forget_gate);
  visit("truncate_gates", o.truncate_gates);
}
template <class Options, class Visit>
void visit_activations(Options& o, const Visit& visit) {
  visit("gate", o.gate_activation);
  visit("candidate", o.candidate_activation);
  visit("hidden", o.hidden_activation);
}

Json activation_to_json(const ActivationSpec& a) {
  Json value = {{"kind", name_of(a.kind)}};
  if (!std::isnan(a.alpha)) value["alpha"] = a.alpha;
  if (!std::isnan(a.beta)) value["beta"] = a.beta;
  return value;
}

ActivationSpec activation_from_json(const Json& value, const std::string& where) {
  ObjectReader reader(value, where);
  ActivationSpec a;
  a.kind = activation_from_name(reader.string("kind"));
  if (reader.has("alpha")) a.alpha = reader.number("alpha");
  if (reader.has("beta")) a.beta = reader.number("beta");
  reader.finish();
  return a;
}

void read(ObjectReader& reader, const char* key, double& value) { value = reader.number(key); }
void read(ObjectReader& reader, const char* key, bool& value) { value = reader.boolean(key); }
void read(ObjectReader& reader, const char* key, std::vector<std::int64_t>& value) {
  for (const Json& number : reader.array(key)) {
    if (!number.is_number_integer())
      throw JsonError(reader.path_to(key) + ": expected whole numbers, got " + describe(number));
    value.push_back(number.get<std::int64_t>());
  }
}

}  // namespace

Json options_to_json(const CellOptions& options) {
  Json value = Json::object();
  const CellOptions usual;
  Json defaults = Json::object();
  visit_options(usual, [&](const char* key, const auto& member) { defaults[key] = member; });
  visit_options(options, [&](const char* key, const auto& member) {
    if (defaults[key] != Json(member)) value[key] = member;
  });
  Json activations = Json::object();
  visit_activations(options, [&](const char* key, const ActivationSpec& a) {
    if (a.kind != Activation::standard) activations[key] = activation_to_json(a);
  });
  if (!activations.empty()) value["activations"] = std::move(activations);
  return value;
}

CellOptions options_from_json(const Json& value, const std::string& where) {
  ObjectReader reader(value, where);
  CellOptions options;
  visit_options(options, [&](const char* key, auto& member) {
    if (reader.has(key)) read(reader, key, member);
  });
  if (reader.has("activations")) {
    ObjectReader activations(reader.field("activations"), reader.path_to("activations"));
    visit_activations(options, [&](const char* key, ActivationSpec& a) {
      if (activations.has(key)) a = activation_from_json(activations.field(key), activations.path_to(key));
    });
    activations.finish();
  }
  reader.finish();
  return options;
}

}  // namespace io

std::string to_json(const CellOptions& options) { return io::dump_json(io::options_to_json(options)); }

CellOptions cell_options_from_json(const std::string& json) {
  try {
    return io::options_from_json(io::parse_json(json), "options");
  } catch (const io::JsonError& e) {
    throw ArgumentError(std::string("[recurrent] ") + e.what());
  }
}

}  // namespace rnncore
