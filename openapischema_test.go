package ringcore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSchemaCheckFindsWhatIsWrong: what the walk through the API finds right could have been found wrong.
func TestSchemaCheckFindsWhatIsWrong(t *testing.T) {
	d := &apiDocument{}
	err := json.Unmarshal([]byte(`{"components":{"schemas":{"X":{"type":"object","required":["n"],"properties":{
		"n":{"type":"integer","minimum":0},"list":{"type":"array","items":{"type":"string"}},"at":{"type":["string","null"],"format":"date-time"},
		"or":{"oneOf":[{"type":"integer"},{"enum":["all"]}]},"map":{"type":"object","additionalProperties":{"type":"number"}}}}}}}`), d)
	if err != nil {
		t.Fatal(err)
	}
	x := map[string]any{"$ref": "#/components/schemas/X"}
	for _, right := range []string{`{"n":0}`, `{"n":1,"list":["a"],"at":"2026-01-02T03:04:05Z","or":"all","map":{"a":1.5}}`, `{"n":1,"at":null,"or":2}`} {
		if err := d.valid([]byte(right), x); err != nil {
			t.Errorf("%s: %v", right, err)
		}
	}
	for _, wrong := range []string{
		`{}`, `{"n":-1}`, `{"n":1.5}`, `{"n":"1"}`, `{"n":1,"more":1}`, `{"n":1,"list":null}`, `{"n":1,"list":[1]}`, `{"n":1,"at":"today"}`, `{"n":1,"or":"none"}`, `{"n":1,"map":{"a":"b"}}`, `[]`, ``,
	} {
		if d.valid([]byte(wrong), x) == nil {
			t.Errorf("%s is let pass", wrong)
		}
	}
}

// valid checks a document against a schema, and that nothing is there that the schema does not name.
func (d *apiDocument) valid(doc []byte, schema map[string]any) error {
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		return fmt.Errorf("%q: %w", doc, err)
	}
	return d.matches("", v, schema)
}

// matches reports where v is not as the schema says. It knows the words of JSON Schema that
// the document uses, and no others.
func (d *apiDocument) matches(at string, v any, schema map[string]any) error {
	for word, arg := range schema {
		var err error
		switch word {
		case "$ref":
			name := arg.(string)
			of, ok := d.Components.Schemas[name[strings.LastIndex(name, "/")+1:]]
			if !ok {
				return fmt.Errorf("%s: %s is not there", at, name)
			}
			err = d.matches(at, v, of)
		case "oneOf":
			n := 0
			for _, of := range arg.([]any) {
				if of := of.(map[string]any); d.matches(at, v, of) == nil {
					n++
				}
			}
			if n != 1 {
				err = fmt.Errorf("%s: %v is %d of the types", at, v, n)
			}
		case "type":
			err = d.hasType(at, v, schema)
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				err = fmt.Errorf("%s: %v is none of %v", at, v, arg)
			}
		case "minimum":
			if n, ok := v.(float64); ok && n < arg.(float64) {
				err = fmt.Errorf("%s: %v is below %v", at, v, arg)
			}
		case "maximum":
			if n, ok := v.(float64); ok && n > arg.(float64) {
				err = fmt.Errorf("%s: %v is above %v", at, v, arg)
			}
		case "format":
			if _, timeErr := time.Parse(time.RFC3339Nano, fmt.Sprint(v)); v != nil && timeErr != nil {
				err = fmt.Errorf("%s: %w", at, timeErr)
			}
		case "examples": // of the codes: all there are
			if !slices.Contains(arg.([]any), v) {
				err = fmt.Errorf("%s: %v is not listed", at, v)
			}
		case "description", "properties", "required", "items", "additionalProperties", "contentEncoding": // with the type
		default:
			err = fmt.Errorf("%s: the schema says %s, which this test does not know", at, word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hasType checks v against the schema's type, and what is in it.
func (d *apiDocument) hasType(at string, v any, schema map[string]any) error {
	kinds, ok := schema["type"].([]any)
	if !ok {
		kinds = []any{schema["type"]}
	}
	kind := map[string]string{"string": "string", "float64": "number", "bool": "boolean", "<nil>": "null", "[]interface {}": "array", "map[string]interface {}": "object"}[fmt.Sprintf("%T", v)]
	if n, isNumber := v.(float64); isNumber && n == float64(int64(n)) && slices.Contains(kinds, any("integer")) {
		kind = "integer"
	}
	if !slices.Contains(kinds, any(kind)) {
		return fmt.Errorf("%s: %v is no %v", at, v, schema["type"])
	}
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			if err := d.matches(fmt.Sprintf("%s[%d]", at, i), x, schema["items"].(map[string]any)); err != nil {
				return err
			}
		}
	case map[string]any:
		return d.hasFields(at, v, schema)
	}
	return nil
}

func (d *apiDocument) hasFields(at string, v, schema map[string]any) error {
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	rest, isMap := schema["additionalProperties"].(map[string]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%s: %v is missing", at, name)
		}
	}
	for name, x := range v {
		of, ok := properties[name].(map[string]any)
		if !ok && !isMap {
			return fmt.Errorf("%s: %s is not described", at, name)
		}
		if !ok {
			of = rest
		}
		if err := d.matches(at+"."+name, x, of); err != nil {
			return err
		}
	}
	return nil
}
