// What tests/deploy asks of others' libraries: those that Docker Compose, kubectl and the Prometheus operator read their files with.
//
//	deploy_tools compose FILE      loads a compose file strictly, and prints what Docker Compose would make of it
//	deploy_tools kustomize FOLDER  prints what `kubectl apply -k FOLDER` would send
//	deploy_tools monitoring FILE   reads the operator's kinds among these documents; an unknown field is an error
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	strict "sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "deploy_tools:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 2 {
		return errors.New("expects compose, kustomize or monitoring, and a path")
	}
	command, path := arguments[0], arguments[1]
	switch command {
	case "compose":
		return compose(path)
	case "kustomize":
		return kustomize(path)
	case "monitoring":
		return operated(path)
	}
	return fmt.Errorf("%q is not known", command)
}

func compose(path string) error {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithResolvedPaths(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	text, err := project.MarshalYAML()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

func kustomize(folder string) error {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return err
	}
	text, err := resources.AsYaml()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

// operated fails unless there is at least one document of the operator's, and each is right.
func operated(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	found := 0
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var kind struct {
			Kind string `json:"kind"`
		}
		if err := strict.Unmarshal(document, &kind); err != nil {
			return err
		}
		var target any
		switch kind.Kind {
		case "ServiceMonitor":
			target = &monitoring.ServiceMonitor{}
		case "PrometheusRule":
			target = &monitoring.PrometheusRule{}
		default:
			continue
		}
		if err := strict.UnmarshalStrict(document, target); err != nil {
			return fmt.Errorf("%s, %s: %w", path, kind.Kind, err)
		}
		found++
	}
	if found == 0 {
		return fmt.Errorf("%s has nothing for the Prometheus operator", path)
	}
	return nil
}
