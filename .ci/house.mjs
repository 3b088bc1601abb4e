/**
 * House rules for oxlint, for what its own rules cannot say.
 *
 * | rule | asks |
 * | --- | --- |
 * | `house/catalogue` | nothing is made of the sums in `policy/catalogue/`: the entry `policy/index.ts` alone imports them |
 * | `house/header` | a module begins with a comment that works as its manual |
 * | `house/documented` | every export carries a JSDoc that starts with a sentence |
 * | `house/clock` | no `new Date()` without an argument: the time comes from `Clock` |
 * | `house/named` | the type of a schema is an interface, which editors show by its name; that of a union cannot be one |
 */

const docBefore = (context, node) => {
  const comments = context.sourceCode.getCommentsBefore(node)
  const last = comments[comments.length - 1]
  return last !== undefined && last.type === "Block" && last.value.startsWith("*") ? last : undefined
}

const firstWord = (comment) => comment.value.replace(/^[\s*]+/, "")

const header = {
  create: (context) => ({
    Program: (program) => {
      const first = context.sourceCode.getAllComments()[0]
      const ok = first !== undefined && first.type === "Block" && first.value.startsWith("*") &&
        context.sourceCode.text.slice(0, first.range[0]).trim() === ""
      if (!ok) {
        context.report({ node: program, message: "A module begins with a /** … */ comment that works as its manual." })
      }
    }
  })
}

const documented = {
  create: (context) => {
    const seen = new Set()
    return {
      ExportNamedDeclaration: (node) => {
        const declaration = node.declaration
        if (declaration === null || declaration === undefined) return
        const name = declaration.id?.name ?? declaration.declarations?.[0]?.id?.name ?? "it"
        const comment = docBefore(context, node)
        // further overloads of one function share the first one's comment
        if (comment === undefined && seen.has(name)) return
        seen.add(name)
        if (comment === undefined) {
          context.report({ node, message: `The export ${name} has no JSDoc.` })
        } else if (!/^[A-Z]\w*\b/.test(firstWord(comment))) {
          context.report({ node, message: `The JSDoc of ${name} does not start with a sentence.` })
        }
      }
    }
  }
}

const clock = {
  create: (context) => ({
    NewExpression: (node) => {
      if (node.callee.type === "Identifier" && node.callee.name === "Date" && node.arguments.length === 0) {
        context.report({ node, message: "The time comes from Clock, or as an argument: no new Date() without one." })
      }
    }
  })
}

const catalogue = {
  create: (context) => {
    const check = (node) => {
      if (!/(?:^|\/)catalogue\//.test(node.source?.value ?? "")) return
      context.report({
        node,
        message: "Nothing is made of policy/catalogue/: a sum that something is made of stands in policy/."
      })
    }
    return {
      ImportDeclaration: check,
      ImportExpression: check,
      ExportAllDeclaration: check,
      ExportNamedDeclaration: check
    }
  }
}

const unions = new Set(["Union", "Literals"])

/** Names the function whose call makes a value: `Union` for `Schema.Union([…])` and for what it is piped or checked into. */
const maker = (expression) => {
  if (expression?.type !== "CallExpression") return undefined
  const callee = expression.callee
  if (callee.type !== "MemberExpression") return callee.name
  return callee.object.type === "CallExpression" ? maker(callee.object) : callee.property.name
}

const named = {
  create: (context) => {
    const makers = new Map()
    return {
      VariableDeclarator: (node) => makers.set(node.id.name, maker(node.init)),
      "Program:exit": (program) => {
        for (const { declaration: type } of program.body) {
          if (type?.type !== "TSTypeAliasDeclaration" || type.typeAnnotation.type !== "TSTypeQuery") continue
          const { left, right } = type.typeAnnotation.exprName
          const schema = left?.name
          if (schema === undefined || right.name !== "Type" || !makers.has(schema) || unions.has(makers.get(schema))) {
            continue
          }
          const message = `Editors show an interface by its name, and spread an alias out: ` +
            `export interface ${type.id.name} extends Schema.Schema.Type<typeof ${schema}> {}`
          context.report({ node: type, message })
        }
      }
    }
  }
}

export default { meta: { name: "house" }, rules: { catalogue, header, documented, clock, named } }
