package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestDeployNamesWhatThereIs: the files of deploy/ set environment variables that are settings,
// and call commands with flags that there are.
func TestDeployNamesWhatThereIs(t *testing.T) {
	variables := []string{"RINGCORE_ENDPOINT", "RINGCORE_CONFIG"}
	for _, name := range startNames {
		variables = append(variables, envOf(name))
	}
	root := (&app{}).rootCommand()
	variable, command := regexp.MustCompile(`\bRINGCORE_[A-Z_]+\b`), regexp.MustCompile(`/usr/bin/ringcore((?: [a-z0-9/-][^ \n]*)+)`)
	files, err := filepath.Glob(filepath.Join("..", "..", "deploy", "*"))
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	commands := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a folder
		}
		for _, v := range variable.FindAllString(string(text), -1) {
			if !slices.Contains(variables, v) {
				t.Errorf("%s sets %s, which is no setting", file, v)
			}
		}
		calls := strings.NewReplacer(`", "`, " ", `"]`, "", `"`, "").Replace(string(text)) // as JSON lists have them
		for _, call := range command.FindAllStringSubmatch(calls, -1) {
			words := strings.Fields(call[1])
			cmd, _, err := root.Find(words)
			if err != nil || cmd.HasSubCommands() {
				t.Errorf("%s calls ringcore%s: %v", file, call[1], err)
				continue
			}
			commands++
			if err := cmd.ParseFlags(words); err != nil {
				t.Errorf("%s calls ringcore%s: %v", file, call[1], err)
			}
		}
	}
	if commands < 4 {
		t.Errorf("%d calls were found", commands)
	}
}

// TestDeployIsYAML: every document can be read, and those of Kubernetes say what they are.
func TestDeployIsYAML(t *testing.T) {
	kinds := map[string]int{}
	for _, name := range []string{"compose.yaml", "kubernetes.yaml", "nfpm.yaml"} {
		file, err := os.Open(filepath.Join("..", "..", "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		for d := yaml.NewDecoder(file); ; {
			var doc map[string]any
			err := d.Decode(&doc)
			if err != nil {
				if err.Error() != "EOF" {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			if kind, ok := doc["kind"].(string); ok && doc["apiVersion"] != nil && doc["metadata"] != nil {
				kinds[kind]++
			}
		}
	}
	for _, kind := range []string{"Service", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy"} {
		if kinds[kind] == 0 {
			t.Errorf("there is no %s", kind)
		}
	}
}
