# METADATA
# title: Odd policy workspace label
# description: Holds evaluation with and without pushdown against each other.
# schemas: [{input: schema.token}]
# custom:
#   id: ODD-144
#   severity: low
#   remedy: manual
#   params:
#     label: {default: env, description: A parameter}
package patrol.token.workspace_label

deny contains "fires" if {
	input.workspace.labels[input.params.label] == "prod"
	input.owner.kind == "user"
}
